# Completion of `cargo xtask ...` in this product's repository and its clones, and of `xtask ...`.
# Source it after `compinit`; cargo's own completion goes on completing everything else.

# Only the binary that is there is asked: nothing is built, and no other repository's is run.
_cdc_xtask_bin() {
    local dir=$PWD bin
    while [[ -n $dir ]]; do
        if [[ -f $dir/profiles/versions.yaml && -f $dir/xtask/src/cli.rs ]]; then
            bin=${CARGO_TARGET_DIR:-$dir/target}/debug/xtask
            [[ -x $bin ]] || return 1
            print -r -- $bin
            return 0
        fi
        dir=${dir%/*}
    done
    return 1
}

# Completes `words`, whose first is the tool's name.
_cdc_xtask() {
    local bin line
    bin=$(_cdc_xtask_bin) || return 1
    local -a open closed
    for line in "${(@f)$(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) CDC_XTASK_COMPLETE=zsh \
            $bin -- "${(@)words[1,CURRENT]}" 2>/dev/null
    )}"; do
        [[ -z $line ]] && continue
        # `kafka.port=` goes on; everything else is a whole word.
        if [[ ${line%%:*} == *[=./] ]]; then
            open+=("$line")
        else
            closed+=("$line")
        fi
    done
    if (( ! $#open && ! $#closed )); then
        _files
        return
    fi
    (( $#closed )) && _describe -V values closed
    (( $#open )) && _describe -V values open -S ''
    return 0
}

_cdc_xtask_cargo() {
    local at=2
    [[ ${words[2]} == +* ]] && at=3
    if [[ ${words[at]} == xtask ]] && (( CURRENT > at )) && _cdc_xtask_bin >/dev/null; then
        local -a words=("${(@)words[at,-1]}")
        local CURRENT=$((CURRENT - at + 1))
        _cdc_xtask
    else
        ${_cdc_xtask_before:-_default} "$@"
    fi
}

if (( ! $+functions[compdef] )); then
    print -u2 'run `autoload -Uz compinit && compinit` before this script'
else
    # The completion that cargo had before.
    if [[ ${_comps[cargo]-} != _cdc_xtask_cargo ]]; then
        typeset -g _cdc_xtask_before=${_comps[cargo]-}
    fi
    compdef _cdc_xtask_cargo cargo
    compdef _cdc_xtask xtask
fi
