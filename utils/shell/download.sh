# Downloads that resume, are verified, and are complete or absent. Sourced by scripts.
#
#   source utils/shell/download.sh
#   fetch URL FILE CHECK [ARGUMENT...]     # CHECK FILE ARGUMENT... tells whether a file is sound
#
# Scripts call launch_has_no_dry_run before they make a folder; fetch does so for those that forget it.
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"

# Ends the script with a sentence.
fail() {
    echo "$(basename "$0"): $1" >&2
    exit "${2:-1}"
}

# Downloads a file unless it exists: to FILE.part, which is renamed once the check passes.
fetch() {
    local url=$1 file=$2 part=$2.part before
    launch_has_no_dry_run
    shift 2
    if [ -e "$file" ]; then
        return
    fi
    mkdir -p "$(dirname "$file")"
    while ! "$1" "$part" "${@:2}"; do # already sound if an earlier run was killed just before renaming it
        before=$(wc -c 2> /dev/null < "$part" || echo 0)
        echo "downloading $url" >&2
        download "$url" "$part" || fail "$url: the download failed; run the same command again to continue it"
        if "$1" "$part" "${@:2}"; then
            break
        fi
        rm -f "$part"
        [ "$before" != 0 ] || fail "$url: the downloaded file is damaged or unexpected, and was removed"
    done # once more from the start, because the earlier part may have been damaged
    mv "$part" "$file"
}

# Resumes the download of a file; starts again if the server cannot resume.
download() {
    local url=$1 part=$2 status=0 answer
    local -a curl=(curl --fail --location --retry 5 --output "$part" --write-out '%{http_code}')
    if ! command -v curl > /dev/null; then
        command -v wget > /dev/null || fail "curl or wget is needed"
        wget --continue --no-verbose --tries=5 --output-document="$part" "$url"
        return
    fi
    if [ -t 2 ]; then
        curl+=(--progress-bar)
    else
        curl+=(--silent --show-error)
    fi
    answer=$("${curl[@]}" --continue-at - "$url") || status=$?
    if [ "$status" = 33 ] || { [ "$status" != 0 ] && [ "$answer" = 416 ]; }; then # no ranges, or not at this position
        rm -f "$part"
        status=0
        "${curl[@]}" "$url" > /dev/null || status=$?
    fi
    return "$status"
}

# Tells whether a zip file is sound and holds this many files with names that match the extended regular expression.
is_zip_of() {
    local file=$1 count=$2 names=$3
    [ -s "$file" ] && unzip -tqq "$file" > /dev/null 2>&1 && [ "$(unzip -Z1 "$file" | grep -Ec "$names")" = "$count" ]
}

# Tells whether a gzip file is sound.
is_gzip() {
    [ -s "$1" ] && gzip -t "$1" 2> /dev/null
}

# Prints the absolute path of a folder; creates it if it is missing.
absolute_folder() {
    mkdir -p "$1" && (cd "$1" && pwd)
}
