#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs once, when the database is made: roles, logins, publication, the table of the README.
set -euo pipefail
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -U postgres -d postgres \
  -v realtime_password="$REALTIME_PASSWORD" -v check_password="$REALTIME_CHECK_PASSWORD" \
  -f /usr/share/realtime/dev.sql >/dev/null
