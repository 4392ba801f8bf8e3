"""Pipeline configs in protobuf's text format, their schema, rules and overrides."""
