# Parses the arguments of launch scripts: folders first, then flags for the program. Sourced by scripts.
#
#   source utils/shell/arguments.sh
#   wants_help "$@"            # tells whether --help or -h is among them
#   split_folders <most> "$@"  # sets folders (at most <most> words before the first flag) and flags

wants_help() {
    local argument
    for argument in "$@"; do
        if [ "$argument" = --help ] || [ "$argument" = -h ]; then
            return 0
        fi
    done
    return 1
}

split_folders() {
    local most=$1
    shift
    folders=()
    while [ $# -gt 0 ] && [ "${#folders[@]}" -lt "$most" ] && [[ $1 != -* ]]; do
        folders+=("$1")
        shift
    done
    # shellcheck disable=SC2034 # for the caller
    flags=("$@")
}
