# Java, jars, ports and processes, for the scripts of this folder. Sourced, never run.

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
java_version=$("$java" -version 2>&1 | sed -n 's/.*version "\([^"]*\).*/\1/p' | head -n 1) || true
jars=${XDG_CACHE_HOME:-$HOME/.cache}/zeef
start_wait_s=90
stop_wait_s=60

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Prints what is missing to run Java on jars of which FILE is one, in one line; nothing where nothing is.
missing_for_jars() {
  local major=${java_version%%[!0-9]*} gaps=''
  [ "${major:-0}" -ge 17 ] || gaps='java 17 or newer: install openjdk-17-jre-headless'
  [ -f "$1" ] || command -v mvn >/dev/null || gaps+="${gaps:+; }mvn: install maven"
  echo "$gaps"
}

# fetch_jars POM FILE: brings the jars of POM into the folder of FILE, which is one of them, where it is not there.
# The folder appears whole or not at all; of two that fetch at once one comes first, and the other uses its folder.
fetch_jars() {
  local pom=$1 file=$2 folder part
  [ ! -f "$file" ] || return 0
  folder=$(dirname "$file")
  mkdir -p "$(dirname "$folder")"
  part=$(mktemp -d "$folder.part.XXXXXX")
  if ! mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$part" >&2; then
    rm -rf "$part"
    fail "failed to fetch the jars of $pom"
  fi
  chmod 755 "$part"
  mv -T "$part" "$folder" 2>/dev/null || rm -rf "$part"
  [ -f "$file" ] || fail "failed to fetch the jars of $pom: expected $file"
}

listening() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A port below the range from which clients get theirs.
free_port() {
  local port
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    listening "$port" || break
  done
  echo "$port"
}

# running PID_FILE WORD: prints the process id in the file, where that process runs and WORD is in its command line. An
# id alone could belong to anyone by now.
running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [ -n "$pid" ] && grep -qsF "$2" "/proc/$pid/cmdline" || return 1
  echo "$pid"
}

# launch LOG PID_FILE COMMAND...: starts a process apart from this one, so that what ends a shell's or a test's process
# group leaves it to its watchdog.
launch() {
  local log=$1 pid_file=$2 apart=()
  shift 2
  : >"$log"
  ! command -v setsid >/dev/null || apart=(setsid)
  "${apart[@]}" "$@" >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
}

# What makes a process that one and no later one with its id: when it started. Nothing where it is gone.
birth() {
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | grep -v '^[ZX]' | cut -d ' ' -f 20 || true
}

gone() {
  [ -z "$(birth "$1")" ]
}

wait_gone() {
  local end=$((SECONDS + stop_wait_s))
  while ! gone "$1"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

# end_process PID_FILE WORD SIGNAL: sends it, and waits until the process is gone.
end_process() {
  local pid
  if pid=$(running "$1" "$2"); then
    kill -s "$3" "$pid"
    if ! wait_gone "$pid"; then
      kill -KILL "$pid" 2>/dev/null || true
      wait_gone "$pid" || fail "process $pid of $1 does not end"
      echo "${0##*/}: $pid did not end within ${stop_wait_s} s, killed" >&2
    fi
  fi
  rm -f "$1"
}

# watch PID PARENT COMMAND...: runs the command when the parent is gone, unless PID is gone before.
watch() {
  local pid=$1 parent=$2 born
  shift 2
  # A group of its own: what ends the parent's group must not end it first.
  (
    set -m
    trap '' INT HUP
    {
      born=$(birth "$parent")
      while ! gone "$pid"; do
        if [ -z "$born" ] || [ "$(birth "$parent")" != "$born" ]; then
          "$@"
          break
        fi
        sleep 0.3
      done
    } >/dev/null 2>&1 </dev/null &
  )
}
