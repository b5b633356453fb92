# shellcheck shell=bash
# The program directory: built beside its final path, then renamed. scripts/release-tree.sh uses this file too.

PREFIX=/opt/postern-auditd
STAGE=/opt/.postern-auditd.new
OLD=/opt/.postern-auditd.old

# Files that an installation copies unchanged from a clone; dist and node_modules are added.
TREE=(package.json LICENSE README.md CHANGELOG.md bin config detections docs fail2ban install install.sh systemd web)
# Inputs of a build.
SOURCES=(src scripts/build.js package.json package-lock.json tsconfig.json)

# kind_of DIRECTORY: release, clone or installed.
kind_of() {
  if [ "$1" = "$PREFIX" ]; then
    echo installed
  elif [ -f "$1/MANIFEST" ] && [ -x "$1/node/bin/node" ]; then
    echo release
  elif [ -f "$1/package-lock.json" ] && [ -d "$1/src" ]; then
    echo clone
  else
    echo nothing
  fi
}

# is_built CLONE: true if dist is newer than src.
is_built() { [ -f "$1/dist/cli.js" ] && [ -z "$(find "$1/src" "$1/scripts/build.js" "$1/package.json" "$1/tsconfig.json" -newer "$1/dist/cli.js" -type f -print -quit)" ]; }

# build_tree CLONE DESTINATION NODE NPM [ARCH]: the compiled program with its production dependencies, for NODE's architecture or that
# given (as Node.js calls it).
build_tree() {
  local clone=$1 destination=$2 node=$3 npm=$4 arch=${5:-} own name
  local npm_options=(--ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error)
  own=$("$node" -p process.arch)
  if [ "${arch:=$own}" != "$own" ]; then npm_options+=(--os=linux --cpu="$arch" --libc=glibc); fi
  for name in "${TREE[@]}"; do
    if [ -e "$clone/$name" ]; then cp -RL --no-preserve=ownership "$clone/$name" "$destination/"; fi
  done
  cp "$clone/package-lock.json" "$destination/"
  if is_built "$clone"; then
    cp -R --no-preserve=ownership "$clone/dist" "$destination/"
  elif [ -d "$clone/node_modules/rolldown" ]; then
    "$node" "$clone/scripts/build.js" "$destination/dist"
  else
    cp -R --no-preserve=ownership "$clone/src" "$clone/tsconfig.json" "$destination/"
    install -D -m 0644 "$clone/scripts/build.js" "$destination/scripts/build.js"
    (cd "$destination" && PATH=${node%/*}:$PATH "$npm" ci "${npm_options[@]}")
    "$node" "$destination/scripts/build.js"
    rm -rf "$destination/src" "$destination/scripts" "$destination/tsconfig.json"
  fi
  (cd "$destination" && PATH=${node%/*}:$PATH "$npm" ci --omit=dev "${npm_options[@]}")
  native_module "$clone" "$destination" "$node" "$npm" "$arch"
  rm -rf "$destination/package-lock.json" "$destination/node_modules/.package-lock.json" "$destination/node_modules/.bin"
  # The code of most packages is in dist. What is left beside these has only served to install them.
  find "$destination/node_modules" -mindepth 1 -maxdepth 1 ! -name 'better-sqlite3*' ! -name bindings ! -name file-uri-to-path ! -name 'node-unix-socket*' -exec rm -rf {} +
  # better-sqlite3-napi finds its module itself.
  if [ -d "$destination/node_modules/better-sqlite3-napi" ]; then rm -rf "$destination/node_modules/bindings" "$destination/node_modules/file-uri-to-path"; fi
  # Types, source maps, and the packages' own tests and tools are half of all files and never run.
  find "$destination/dist" "$destination/node_modules" -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' \) -delete
  find "$destination/node_modules" -type f \( -name '.*' -o -name 'C[HO]*.md' -o -name History.md -o -name Cargo.toml -o -name 'tsconfig*.json' -o -name 'jest.config.js' \) -delete
  for name in test tests docs benchmarks; do rm -rf "$destination"/node_modules/*/"$name" "$destination"/node_modules/@*/*/"$name"; done
  find "$destination/dist" "$destination/node_modules" -type d -empty -delete
  chmod -R u=rwX,go=rX "$destination"
}

# native_module: the compiled SQLite package that src/load-sqlite.ts names, without its sources, and without the other package.
native_module() {
  local clone=$1 destination=$2 node=$3 npm=$4 arch=$5 name module
  name=$("$node" --input-type=module -e 'console.log((await import(process.argv[1] + "/dist/load-sqlite.js")).SQLITE_PACKAGE)' "$destination")
  module=$destination/node_modules/$name
  case $name in
    better-sqlite3) compiled_module "$clone" "$destination" "$node" "$npm" ;;
    *) find "$module/prebuilds" -type f ! -name "linux-$arch.node" -delete ;;
  esac
  if [ "$arch" = "$("$node" -p process.arch)" ]; then sqlite_runs "$destination" "$node"; fi
  find "$destination/node_modules" -mindepth 1 -maxdepth 1 -name 'better-sqlite3*' ! -name "$name" -exec rm -rf {} +
  rm -rf "${module:?}/deps" "${module:?}/src" "${module:?}/binding.gyp" "$destination/node_modules/node-addon-api"
}

# compiled_module: the clone's module if it has the same version and runs; otherwise one built here.
compiled_module() {
  local clone=$1 destination=$2 node=$3 npm=$4 module=node_modules/better-sqlite3 binary=build/Release/better_sqlite3.node
  if [ -f "$clone/$module/$binary" ] && cmp -s "$clone/$module/package.json" "$destination/$module/package.json"; then
    mkdir -p "$destination/$module/build/Release"
    cp --no-preserve=ownership "$clone/$module/$binary" "$destination/$module/$binary"
  fi
  if ! sqlite_runs "$destination" "$node" 2>/dev/null; then
    (cd "$destination" && PATH=${node%/*}:$PATH "$npm" rebuild better-sqlite3 --foreground-scripts >&2)
  fi
  find "$destination/$module/build" -type f ! -name better_sqlite3.node -delete
  find "$destination/$module/build" -mindepth 1 -type d -empty -delete
}

sqlite_runs() {
  "$2" --input-type=module -e 'const { default: Database } = await import(process.argv[1] + "/dist/load-sqlite.js"); new Database(":memory:").close()' "$1"
}

# write_manifest DIRECTORY: checksums of all its files, to compare installations and detect damage.
write_manifest() {
  (cd "$1" && find . -type f ! -path ./MANIFEST -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >MANIFEST)
  chmod 0644 "$1/MANIFEST"
}

is_whole() { (cd "$1" && [ -f MANIFEST ] && sha256sum --check --quiet --strict MANIFEST) >/dev/null 2>&1; }

# fingerprint CLONE NODE: a hash of every input of an installation from the clone.
fingerprint() {
  (
    cd "$1" && "$2" --version && { find "${TREE[@]}" "${SOURCES[@]}" -type f 2>/dev/null || true; } | LC_ALL=C sort -u | tr '\n' '\0' | xargs -0 sha256sum
  ) | sha256sum | cut -d ' ' -f 1
}

# recover_program: restores the program if an installation was interrupted between its two renames.
recover_program() {
  if [ ! -e "$PREFIX" ] && [ -d "$OLD" ] && [ "$DRY_RUN" = no ]; then mv -T "$OLD" "$PREFIX"; fi
}

# stage_program: sets PROGRAM, the directory of the program to install: STAGE, or PREFIX if that is identical already.
stage_program() {
  PROGRAM=$PREFIX
  case $KIND in
    installed) return 0 ;;
    release) stage_release ;;
    clone) stage_clone ;;
  esac
}

stage_release() {
  if ! is_whole "$HERE"; then
    die "the release in $HERE does not match its MANIFEST." 'verify the tarball with sha256sum --check SHA256SUMS, then unpack it again.'
  fi
  if cmp -s "$HERE/MANIFEST" "$PREFIX/MANIFEST" && is_whole "$PREFIX"; then return 0; fi
  PROGRAM=$HERE
  if [ "$DRY_RUN" = yes ]; then return 0; fi
  fresh_stage
  cp -R --no-preserve=ownership --preserve=mode "$HERE/." "$STAGE/"
  PROGRAM=$STAGE
}

stage_clone() {
  local from npm
  find_node
  npm=$(trusted_npm) || die 'npm is not installed.' 'run apt-get install npm, or use the release tarball, which does not need npm.'
  from=$(fingerprint "$HERE" "$NODE")
  if [ "$(cat "$PREFIX/BUILT_FROM" 2>/dev/null)" = "$from" ] && is_whole "$PREFIX"; then return 0; fi
  if [ "$DRY_RUN" = yes ]; then
    PROGRAM=''
    if is_built "$HERE" && [ -d "$HERE/node_modules" ]; then PROGRAM=$HERE; fi
    return 0
  fi
  say "  building   $STAGE with Node.js $("$NODE" --version)"
  fresh_stage
  build_tree "$HERE" "$STAGE" "$NODE" "$npm"
  printf '%s\n' "$from" >"$STAGE/BUILT_FROM"
  printf '%s\n' "$NODE" >"$STAGE/NODE"
  write_manifest "$STAGE"
  PROGRAM=$STAGE
}

# trusted_npm: the npm beside the chosen Node.js, otherwise the npm of the host.
trusted_npm() {
  local npm
  for npm in "${NODE%/*}/npm" "$(command -v npm)"; do
    if [ -x "$npm" ] && [ -z "$(who_may_write "$npm")" ]; then printf '%s\n' "$npm"; return; fi
  done
  return 1
}

fresh_stage() {
  rm -rf --one-file-system "$STAGE"
  install -d -m 0755 "${STAGE%/*}" "$STAGE"
}

# swap_program: installs the staged program; the previous one is kept until the installation succeeds.
swap_program() {
  if [ "$PROGRAM" = "$PREFIX" ]; then
    unchanged "$PREFIX"
    return 0
  fi
  change "install $PREFIX" exchange_program
  if [ "$DRY_RUN" = no ]; then PROGRAM=$PREFIX; fi
}

exchange_program() {
  rm -rf --one-file-system "$OLD"
  if [ -e "$PREFIX" ]; then mv -T "$PREFIX" "$OLD"; fi
  mv -T "$STAGE" "$PREFIX"
  SWAPPED=yes
}

clear_stage() { rm -rf --one-file-system "$STAGE"; }

# put_back_program: restores the previous version after a failure.
put_back_program() {
  clear_stage
  if [ "${SWAPPED:-no}" = no ] || [ ! -d "$OLD" ]; then
    put_back_config
    return 0
  fi
  rm -rf --one-file-system "$PREFIX"
  mv -T "$OLD" "$PREFIX"
  put_back_config
  local name
  install -m 0644 "$PREFIX/systemd/$UNIT" "$UNIT_FILE"
  for name in "${TEMPLATES[@]}"; do
    if [ -e "$PREFIX/systemd/$name" ]; then install -m 0644 "$PREFIX/systemd/$name" "/etc/systemd/system/$name"; fi
  done
  systemctl daemon-reload
  systemctl restart "$UNIT"
  for name in $(instances); do systemctl try-restart "postern-auditd@$name.service"; done
  say "  restored   the previous program in $PREFIX; $UNIT is $(systemctl is-active "$UNIT")"
}

# put_back_config: restores the configuration if the previous version rejects the change, such as an unknown key.
put_back_config() {
  if [ ! -e "$WORK/config.before" ] || [ ! -x "$PREFIX/bin/postern-auditd" ]; then return 0; fi
  if "$PREFIX/bin/postern-auditd" facts --config "$CONFIG" >/dev/null 2>&1; then return 0; fi
  cp -p "$WORK/config.before" "$CONFIG.new-$$"
  mv -f -T "$CONFIG.new-$$" "$CONFIG"
  say "  restored   $CONFIG, because the previous version rejects the changed one"
}

# postern COMMAND…: the program that is being installed.
postern() { "$PROGRAM/bin/postern-auditd" "$@"; }
