#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# The metrics end to end: netracker metrics --textfile, node_exporter, Prometheus, PromQL. And what contrib/ has for them.

load ../helpers

readonly EXPORTER=127.0.0.1:19100 PROMETHEUS=127.0.0.1:19090

setup() {
	isolate
	requires tool_promtool
}

# keep_writing DIR: what netracker-metrics.timer does, more often.
keep_writing() {
	while "$NETRACKER" metrics --textfile "$1"; do
		sleep 0.5
	done
}

# start_prometheus NS [RULES]: it scrapes the exporter, which reads the textfile, all of them in NS. RULES: ours, if no others.
start_prometheus() {
	local dir=$BATS_TEST_TMPDIR
	mkdir "$dir/textfile"
	background keep_writing "$dir/textfile"
	background in_netns "$1" prometheus-node-exporter --web.listen-address="$EXPORTER" \
		--collector.disable-defaults --collector.textfile --collector.textfile.directory="$dir/textfile"
	cat >"$dir/prometheus.yml" <<-EOF
		global: { scrape_interval: 1s, evaluation_interval: 1s }
		rule_files: [ ${2:-$ROOT/contrib/prometheus/netracker.rules.yml} ]
		scrape_configs:
		  - job_name: node
		    static_configs: [ { targets: [ '$EXPORTER' ] } ]
	EOF
	background in_netns "$1" prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" \
		--web.listen-address="$PROMETHEUS" --log.level=warn
	WAIT_SECONDS=30 wait_for in_netns "$1" curl --silent --fail "http://$PROMETHEUS/-/ready"
}

# query PROMQL: print the value of the one sample that it gives, nothing if there is none. Prometheus is in the client's namespace.
query() {
	in_netns client curl --silent --show-error --data-urlencode "query=$1" "http://$PROMETHEUS/api/v1/query" |
		jq --raw-output 'if .status == "success" then .data.result[].value[1] else error(.error) end'
}

# query_gives PROMQL VALUE
query_gives() {
	assert_equal "$1" "$(query "$1")" "$2"
}

# near WHAT GOT WANT PERCENT
near() {
	awk -v got="$2" -v want="$3" -v percent="$4" 'BEGIN { exit !(got >= want * (1 - percent / 100) && got <= want * (1 + percent / 100)) }' ||
		fail "$1: got '$2', want $3 within $4 %"
}

# has_samples N: Prometheus has so many of each counter.
has_samples() {
	(($(query 'min(count_over_time(netracker_connections_ended_total[5m]))') >= $1))
}

@test "PromQL's answers are what the load generator counted" {
	local load ended=netracker_connections_ended_total
	requires tool_prometheus tool_prometheus-node-exporter tool_nginx object kernel_5.19
	new_pair
	in_netns client "$NETRACKER" attach --quiet veth0
	http_server server 8000
	background peer server serve 8001 reset
	wait_for listening server 8001
	start_prometheus client

	# increase() does not see what was before a counter's first sample, so each of them gets one.
	in_netns client python3 "$ROOT/tests/prometheus/load.py" "$SERVER4" 5 8000 9 8001
	WAIT_SECONDS=30 wait_for query_gives "sum($ended)" 7
	load=$(in_netns client python3 "$ROOT/tests/prometheus/load.py" "$SERVER4" 2000 8000 9 8001)
	echo "$load"
	assert_equal "load" "$(jq --compact-output 'del(.p99)' <<<"$load")" '{"ok":2000,"refused":400,"reset":400}'
	WAIT_SECONDS=30 wait_for query_gives "sum($ended)" $((2800 + 7))

	query_gives "sum($ended{dir=\"out\", port=\"8000\", state=\"SF\"})" 2005
	query_gives "$ended{dir=\"out\", port=\"9\", state=\"REJ\"}" 401
	query_gives "$ended{dir=\"out\", port=\"8001\", state=\"RSTR\"}" 401
	query_gives "sum by (port) ($ended{port=\"9\", state=\"REJ\"}) / sum by (port) ($ended{port=\"9\"})" 1
	query_gives "sum(netracker_connections_attempted_total) - sum($ended) - sum(netracker_connections_live)" 0
	# increase() is said to go on for half an interval beyond the first and the last sample: of few samples that is much.
	WAIT_SECONDS=60 wait_for has_samples 20
	near "share of failures" "$(query "sum(increase($ended{state=~\"REJ|RSTR\"}[5m])) / sum(increase(${ended}[5m]))")" \
		"$(jq '(.refused + .reset) / (.ok + .refused + .reset)' <<<"$load")" 2
	near "increase" "$(query "sum(increase($ended{port=\"8000\"}[5m]))")" 2000 10
	# The buckets are powers of two.
	near "99th percentile" "$(query 'histogram_quantile(0.99, sum by (le) (increase(netracker_connection_duration_seconds_bucket{port="8000"}[5m])))')" \
		"$(jq .p99 <<<"$load")" 50

	assert_equal "rules that Prometheus cannot evaluate" \
		"$(in_netns client curl --silent "http://$PROMETHEUS/api/v1/rules" | jq --compact-output '[.data.groups[].rules[] | select(.health != "ok") | .name]')" '[]'
	near "round-trip times" "$(query 'sum(increase(netracker_srtt_seconds_count{port="8000"}[5m]))')" 2000 10
	near "segments sent" "$(query 'sum(increase(netracker_segments_sent_total{port="8000"}[5m]))')" \
		"$("$NETRACKER" log --all --no-follow --json | jq --slurp 'map(select(.dport == 8000).orig_segs) | add')" 10
	# shellcheck disable=SC2016 # Grafana's variables, not the shell's
	while read -r panel; do
		query "$panel" >/dev/null || fail "dashboard: $panel"
	done < <(jq --raw-output '.panels[].targets[].expr' "$ROOT/contrib/grafana/netracker.json" |
		sed 's/\$__rate_interval/1m/g; s/\$\(instance\|dir\|port\)/.*/g')
}

# firing: the alerts about interfaces that are, with the interface if they name one.
firing() {
	in_netns client curl --silent "http://$PROMETHEUS/api/v1/alerts" |
		jq --raw-output '.data.alerts[] | select(.state == "firing").labels
		| select(.alertname | IN("NeTrackerDetached", "NeTrackerInterfaceLost")) | "\(.alertname) \(.device // "-")"' | sort
}

# firing_are LINE…: sorted
firing_are() {
	assert_equal "alerts" "$(firing)" "$(printf '%s\n' "$@" | grep .)"
}

@test "an interface that is deleted fires one alert, the last one another" {
	requires tool_prometheus tool_prometheus-node-exporter object kernel_5.19
	new_pair
	new_veth client veth1 server veth1
	in_netns client "$NETRACKER" attach --quiet veth0 veth1
	sed 's/ for: .*m$/ for: 1s/' "$ROOT/contrib/prometheus/netracker.rules.yml" >"$BATS_TEST_TMPDIR/netracker.rules.yml"
	start_prometheus client "$BATS_TEST_TMPDIR/netracker.rules.yml"
	WAIT_SECONDS=30 wait_for query_gives 'sum(netracker_interface_hooks)' 4
	firing_are ""

	in_netns client ip link del veth1
	WAIT_SECONDS=30 wait_for firing_are 'NeTrackerInterfaceLost veth1'
	in_netns client tc qdisc del dev veth0 clsact
	WAIT_SECONDS=30 wait_for firing_are 'NeTrackerDetached -' 'NeTrackerInterfaceLost veth0' 'NeTrackerInterfaceLost veth1'

	in_netns client "$NETRACKER" attach --quiet veth0
	in_netns client "$NETRACKER" detach --quiet veth1
	WAIT_SECONDS=30 wait_for firing_are ""
}

@test "the alerts fire on what they are for" {
	promtool check rules "$ROOT/contrib/prometheus/netracker.rules.yml"
	promtool test rules "$ROOT/tests/prometheus/rules.yml"
}
