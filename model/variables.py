"""Names and shapes of the networks' variables, from the tables of architectures alone (no TF)."""

from __future__ import annotations

from model.specs import ResNetSpec, SSDSpec

Shapes = dict[str, tuple[int, ...]]
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
GROUP_NORM = "GroupNorm"


def classifier_variables(spec: ResNetSpec, num_classes: int) -> Shapes:
    """Returns all variables of a classifier, in the order of its layers."""
    dense = _dense("output/dense", spec.features, num_classes)
    return {f"{spec.name}/{name}": shape for name, shape in (backbone_variables(spec) | dense).items()}


def backbone_variables(spec: ResNetSpec) -> Shapes:
    """Returns the variables of the convolutional part, without its scope."""
    names = spec.names
    shapes = _convolution(f"{names.stem}/{names.kernel}", names.stem, (7, 7, 3, spec.stem_width))
    channels = spec.stem_width
    for stage, (blocks, width) in enumerate(zip(spec.blocks, spec.widths, strict=True)):
        for index in range(blocks):
            projected = (stage > 0 and index == 0) or channels != width * spec.expansion
            shapes |= _block(spec, names.block_name(stage, index), channels, width, projected=projected)
            channels = width * spec.expansion
    return shapes


def detector_variables(spec: SSDSpec, anchors_per_cell: int, class_slots: int) -> Shapes:
    """Returns all variables of a detector."""
    names, width = spec.names, spec.width
    shapes = {f"{names.backbone_scope}/{name}": shape for name, shape in backbone_variables(spec.backbone).items()}
    stage_widths = spec.backbone.widths[-len(names.projections) :]
    for name, channels in zip(names.projections, stage_widths, strict=True):
        scope = f"{names.pyramid_scope}/{name}"
        shapes |= {f"{scope}/weights": (1, 1, channels * spec.backbone.expansion, width), f"{scope}/biases": (width,)}
    for name in (*names.smoothings, *names.bottom_up):
        scope = f"{names.pyramid_scope}/{name}"
        shapes |= {f"{scope}/weights": (3, 3, width, width)} | _normalization(spec, scope)
    for tower in (names.box_tower, names.class_tower):
        for layer in names.tower_layers(spec.tower_layers):
            scope = f"{names.predictor}/{tower}/{layer}"
            shapes[f"{scope}/weights"] = (3, 3, width, width)
            shapes |= _normalization(spec, scope, names.levels)
    for head, size in (*spec.box_heads.values(), (names.class_head, class_slots)):
        filters = anchors_per_cell * size
        scope = f"{names.predictor}/{head}"
        shapes |= {f"{scope}/weights": (3, 3, width, filters), f"{scope}/biases": (filters,)}
    return shapes


def _normalization(spec: SSDSpec, scope: str, levels: tuple[str, ...] = ()) -> Shapes:
    """Returns the variables that normalize a convolution; batch normalization has its own for each of ``levels``."""
    if spec.norm == "group":
        return {f"{scope}/{GROUP_NORM}/{kind}": (spec.width,) for kind in NORMALIZATION[:2]}
    scopes = [f"{scope}/BatchNorm/{level}" for level in levels] or [f"{scope}/BatchNorm"]
    return {f"{place}/{kind}": (spec.width,) for place in scopes for kind in NORMALIZATION}


def _block(spec: ResNetSpec, scope: str, channels: int, width: int, *, projected: bool) -> Shapes:
    names, wide = spec.names, width * spec.expansion
    shapes: Shapes = {}
    if projected:
        shortcut = f"{scope}/{names.shortcut}"
        shapes |= _convolution(f"{shortcut}/{names.kernel}", shortcut, (1, 1, channels, wide))
    ways = [(1, channels, width), (3, width, width), (1, width, wide)]  # size, input and output channels
    if spec.block == "basic":
        ways = [(3, channels, width), (3, width, wide)]
    for name, (size, inputs, filters) in zip(names.convolutions, ways, strict=True):
        groups = spec.cardinality if size > 1 else 1
        kernel = names.kernel if groups == 1 else f"{name}group_filter"
        shapes |= _convolution(f"{scope}/{name}/{kernel}", f"{scope}/{name}", (size, size, inputs // groups, filters))
    if spec.se_ratio:
        squeeze = f"{scope}/{names.squeeze}"
        shapes |= _dense(f"{squeeze}/dense", wide, wide // spec.se_ratio)
        shapes |= _dense(f"{squeeze}/dense_1", wide // spec.se_ratio, wide)
    return shapes


def _convolution(kernel: str, scope: str, shape: tuple[int, int, int, int]) -> Shapes:
    return {kernel: shape} | {f"{scope}/BatchNorm/{kind}": shape[3:] for kind in NORMALIZATION}


def _dense(scope: str, inputs: int, units: int) -> Shapes:
    return {f"{scope}/kernel": (inputs, units), f"{scope}/bias": (units,)}
