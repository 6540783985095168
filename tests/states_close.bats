#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Established connections and how FINs end them: docs/states.md. The scenarios' language: tests/wire/play.py.

load helpers
load wire/wire

@test "SF: the originator closes first" {
	play <<-EOF
		o S
		r SA @synack
		o A @ack
		o PA data=3
		r PA data=5
		o FA @fin
		wait 0.05
		r FA @end
		wait 0.05
		o A
		= SF bytes=3/5 syn_retrans=0
		+ established=1
	EOF
}

@test "SF: the responder closes first" {
	play <<-EOF
		o S
		wait 0.02
		r SA @synack
		wait 0.02
		o A @ack
		o PA data=3
		r FA data=5 @fin
		o FA data=100 @end
		r A
		= SF bytes=103/5
	EOF
}

@test "SF: both close at once" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r FA ack=1 @end
		o A
		r A
		= SF bytes=0/0
	EOF
}

@test "S1: neither side closes before the tracker is taken away" {
	play <<-EOF
		o S
		r SA @synack
		o A @ack
		o PA data=3
		wait 3
		r PA data=5
		flush @end
		= S1 bytes=-1/-1
		+ established=1
	EOF
}

@test "S2, S3: one side has closed when the tracker is taken away" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r PA data=5 @end
		flush
		= S2 bytes=0/-1
	EOF
	play <<-EOF
		o S
		r SA
		o A
		r FA @fin
		o PA data=3 @end
		flush
		= S3 bytes=-1/0
	EOF
}

@test "S2: only the originator closed; the time-out counts from the last packet of either side" {
	play <<-EOF
		o S
		r SA
		o A
		o FA data=3 @fin
		wait 1.5
		r PA data=5
		wait 1.5
		o A @end
		= S2 after=2 bytes=3/-1
		+ expired=1
	EOF
}

@test "S3: only the responder closed; the time-out counts from the last packet of either side" {
	play <<-EOF
		o S
		r SA
		o A
		r FA data=5 @fin
		wait 1.5
		o PA data=3
		wait 1.5
		r A @end
		= S3 after=2 bytes=-1/5
		+ expired=1
	EOF
}

@test "a forged FIN is refuted by its sender's later data, and two of them end nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		o FA seq=2500000000 side
		r FA seq=3500000000 side
		o PA data=4
		r PA data=5
		wait 1.2
		o FA @fin
		r FA @end
		o A
		= SF bytes=7/5
		+ fin_disbelieved=2
	EOF
}

@test "a forged FIN is refuted by its sender's own" {
	play <<-EOF
		o S
		r SA
		o A
		o FA seq=1000000 side @fin
		r PA data=5
		wait 0.1
		r FA
		o FA data=3 @end
		r A
		= SF bytes=3/5
		+ fin_disbelieved=1
	EOF
}

@test "half-closed with data flowing on" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r PA data=1000
		wait 1.2
		o A
		wait 1.2
		r PA data=1000
		wait 1.2
		r FA data=1000 @end
		o A
		= SF bytes=0/3000
	EOF
}

@test "a FIN that was sent again is the same FIN" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		wait 0.1
		o again
		wait 0.1
		r FA @end
		= SF bytes=0/0
	EOF
}

@test "what comes after the end creates nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r FA @end
		o A
		r again
		o FA seq=1
		o R
		r R
		r SA
		= SF bytes=0/0
		+ no_record_fin=2 no_record_rst=2
	EOF
}

@test "bytes are counted over the wrap of the sequence numbers, and modulo 2^32" {
	play <<-EOF
		o S isn=4294967295
		r SA isn=0
		o A
		o PA seq=3000000001 data=10
		r PA seq=1 data=20
		r FA @fin
		o FA @end
		= SF bytes=3000000010/20
	EOF
	play <<-EOF
		o S
		r SA
		o A
		o PA seq=2000000001 data=10
		o PA seq=4000000001 data=10
		o FA seq=4294967306 @fin
		r FA @end
		= SF bytes=9/0
	EOF
}

@test "no SYN seen: no record" {
	play <<-EOF
		o PA data=3
		r PA data=5
		o FA
		r FA
		o R
		+ no_record_fin=2 no_record_rst=1
	EOF
}

@test "a SYN seen at ingress and again at egress of another interface is one connection, not sent twice" {
	play forwarded-in-4 forwarded-in-6 forwarded-out-4 forwarded-out-6 <<-EOF
		o S
		r SA @synack
		o A @ack
		o PA data=3
		r PA data=5
		o FA @fin
		r FA @end
		o A
		= SF bytes=3/5 syn_retrans=0
		+ no_record_fin=1 established=1
	EOF
}

@test "a SYN that was sent again through two interfaces was sent again once" {
	play forwarded-in-4 forwarded-in-6 forwarded-out-4 forwarded-out-6 <<-EOF
		o S
		wait 0.1
		o S
		r RA @end
		= REJ syn_retrans=1
		+ no_record_rst=1
	EOF
}

@test "a reset that is seen twice ends a connection once" {
	play forwarded-in-4 forwarded-in-6 forwarded-out-4 forwarded-out-6 <<-EOF
		o S
		r SA
		o A
		r R @end
		= RSTR after=1
	EOF
}
