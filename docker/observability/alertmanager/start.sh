#!/bin/sh
# Alertmanager takes no settings from its environment, and version 0.25 a webhook's address from no file either. So the address is
# written into a copy of the configuration, in memory and readable for this user only. Works with busybox.
set -eu
umask 077
cp /etc/alertmanager/alertmanager.yml /tmp/alertmanager.yml
if [ -n "${MILLRACE_ALERT_WEBHOOK:-}" ]; then
  case "$MILLRACE_ALERT_WEBHOOK" in
    http://?*|https://?*) ;;
    *) echo "MILLRACE_ALERT_WEBHOOK must be empty or begin with http:// or https://" >&2; exit 2 ;;
  esac
  # In YAML's single quotes nothing but the quote itself is special.
  quoted=$(printf '%s' "$MILLRACE_ALERT_WEBHOOK" | sed "s/'/''/g")
  printf "    webhook_configs:\n      - url: '%s'\n" "$quoted" >>/tmp/alertmanager.yml
fi
unset MILLRACE_ALERT_WEBHOOK quoted
exec alertmanager --config.file=/tmp/alertmanager.yml "$@"
