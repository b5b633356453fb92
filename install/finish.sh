# shellcheck shell=bash
# The end of a run: what a failure or an interruption reports and restores. The caller has command_line.

FAILED='' SIGNAL='' WORK=''
PUT_BACK=(put_back_fail2ban put_back_config) # after a failure: the functions that restore the state before the run, in this order
AFTERWARDS=()                                # after a success

# shellcheck disable=SC2317 # called by the trap
finish() {
  local status=$? line
  # The rollback must not be interrupted, and the terminal may be closed.
  trap '' INT TERM HUP PIPE
  trap - EXIT ERR
  set +e
  if [ -n "$SIGNAL" ]; then tell_journal; fi
  if [ "$status" -ne 0 ] && [ "$STEP" != starting ]; then
    {
      if [ -n "$SIGNAL" ]; then
        printf '\n%s was interrupted (%s) while %s.\n  next: run %s again. It continues from the current state.\n' "$ME" "$SIGNAL" "$STEP" "$(command_line)"
      else
        printf '\n%s stopped while %s.%s\n' "$ME" "$STEP" "${FAILED:+ This failed: $FAILED}"
        if [ -n "$FAILED" ]; then printf '  next: %s\n' "$(next_step "$ADVICE")"; fi
      fi
      if [ ${#DONE[@]} -eq 0 ]; then
        echo '  Nothing has been changed.'
      else
        echo '  These changes were made, and are kept unless listed as restored below:'
        for line in "${DONE[@]}"; do printf '    %s\n' "$line"; done
      fi
      for line in "${PUT_BACK[@]}"; do "$line"; done
    } >&2
  elif [ "$STEP" != starting ]; then
    for line in "${AFTERWARDS[@]}"; do "$line"; done
  fi
  rm -rf "$WORK"
  # The status of a program that failed unexpectedly means nothing to the caller.
  if [ -n "$FAILED" ] && [ "$ONLY_SETTINGS" = yes ]; then status=1; fi
  exit "$status"
}

# tell_journal: reports the interruption in the journal, because the terminal of a lost session is gone.
tell_journal() {
  logger -t postern-auditd-install -p user.warning "interrupted (SIG$SIGNAL) while $STEP; run $(command_line) again. It continues from the current state" 2>/dev/null || true
}

# interrupted NAME NUMBER: the shell calls this when the running program has ended; the EXIT trap alone would see a status of 0.
interrupted() {
  SIGNAL=$1
  exit $((128 + $2))
}

# catch_the_end: creates WORK, the directory for temporary files, and calls finish at each end of this run.
catch_the_end() {
  WORK=$(mktemp -d) || die "cannot create a temporary directory in ${TMPDIR:-/tmp}." 'free some space there, or set TMPDIR to another directory.'
  trap finish EXIT
  trap 'FAILED="$BASH_COMMAND"' ERR
  trap 'interrupted INT 2' INT
  trap 'interrupted TERM 15' TERM
  trap 'interrupted HUP 1' HUP
}

# say_next: what to look at after a run that has succeeded.
say_next() { say "Next: $(command_name) status${INSTANCE:+ --instance $INSTANCE}$([ "$WITH_FAIL2BAN" != yes ] || echo "; fail2ban-client status ${FACTS[jail]}"). Configuration: $CONFIG"; }
