# shellcheck shell=bash
# What install.sh and setup.sh are made of, and the options that both have. The caller has HERE.

# shellcheck source=install/output.sh
. "$HERE/install/output.sh"
# shellcheck source=install/platform.sh
. "$HERE/install/platform.sh"
# shellcheck source=install/database.sh
. "$HERE/install/database.sh"
# shellcheck source=install/identity.sh
. "$HERE/install/identity.sh"
# shellcheck source=install/program.sh
. "$HERE/install/program.sh"
# shellcheck source=install/service.sh
. "$HERE/install/service.sh"
# shellcheck source=install/fail2ban.sh
. "$HERE/install/fail2ban.sh"
# shellcheck source=install/purge.sh
. "$HERE/install/purge.sh"
# shellcheck source=install/instance.sh
. "$HERE/install/instance.sh"
# shellcheck source=install/uninstall.sh
. "$HERE/install/uninstall.sh"
# shellcheck source=install/finish.sh
. "$HERE/install/finish.sh"

WITH_FAIL2BAN='' # yes or no; empty: as configured
REMOVE_JAIL=no
REMEMBER='' # yes or no: write this into the configuration
GIVEN_BANACTION=''
GIVEN_DATABASE=''
TRUSTED_OWNER=''
ADMIN_NETS=()
SAVED=()
