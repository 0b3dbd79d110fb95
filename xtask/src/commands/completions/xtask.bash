# Completion of `cargo xtask ...` in this product's repository and its clones, and of `xtask ...`.
# Source it after cargo's own completion, which goes on completing everything else.

# Only the binary that is there is asked: nothing is built, and no other repository's is run.
_cdc_xtask_bin() {
    local dir=$PWD bin
    while [[ -n $dir ]]; do
        if [[ -f $dir/profiles/versions.yaml && -f $dir/xtask/src/cli.rs ]]; then
            bin=${CARGO_TARGET_DIR:-$dir/target}/debug/xtask
            [[ -x $bin ]] || return 1
            printf '%s\n' "$bin"
            return 0
        fi
        dir=${dir%/*}
    done
    return 1
}

# Completes from word number $1, which is the tool's name.
_cdc_xtask_complete() {
    local bin i word cur line glue= prefix=
    local words=()
    bin=$(_cdc_xtask_bin) || return 1
    # Bash splits words at `=` and `:`; the tool wants them whole.
    for ((i = $1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -z $word && ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]]; then
            glue=
        fi
        if ((${#words[@]} > 1)) && [[ -n $glue || $word == [=:]* ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[=:] ]] && glue=1 || glue=
    done
    cur=${words[${#words[@]}-1]}
    # Readline replaces only what follows the last `=`.
    if [[ $COMP_WORDBREAKS == *=* && $cur == *=* ]]; then
        prefix=${cur%"${cur##*=}"}
    fi
    COMPREPLY=()
    while IFS= read -r line || [[ -n $line ]]; do
        COMPREPLY+=("${line#"$prefix"}")
    done < <(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) CDC_XTASK_COMPLETE=bash \
            "$bin" -- "${words[@]}" 2>/dev/null
    )
    if [[ ${COMPREPLY[0]-} == *[=./] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

_cdc_xtask() {
    _cdc_xtask_complete 0
}

_cdc_xtask_cargo() {
    local at=1
    [[ ${COMP_WORDS[1]-} == +* ]] && at=2
    if [[ ${COMP_WORDS[at]-} == xtask ]] && ((COMP_CWORD > at)); then
        _cdc_xtask_complete "$at" && return
    fi
    COMPREPLY=()
    if [[ -n $_cdc_xtask_before ]]; then
        "$_cdc_xtask_before" "$@"
    elif ((COMP_CWORD == at)) && _cdc_xtask_bin >/dev/null; then
        COMPREPLY=($(compgen -W xtask -- "${COMP_WORDS[COMP_CWORD]}"))
    fi
}

# The completion that cargo had before.
: "${_cdc_xtask_before=}"
if ! complete -p cargo &>/dev/null; then
    if declare -F _comp_load >/dev/null; then
        _comp_load cargo &>/dev/null
    elif declare -F _completion_loader >/dev/null; then
        _completion_loader cargo &>/dev/null
    fi
fi
if [[ $(complete -p cargo 2>/dev/null) =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _cdc_xtask_cargo ]]; then
    _cdc_xtask_before=${BASH_REMATCH[1]}
fi

complete -o bashdefault -o default -F _cdc_xtask_cargo cargo
complete -o bashdefault -o default -F _cdc_xtask xtask
