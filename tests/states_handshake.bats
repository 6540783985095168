#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# A connection's life up to its third segment: docs/states.md, from the packets' side. The scenarios' language: tests/wire/play.py.

load helpers
load wire/wire

@test "S0: nobody answers" {
	play <<-EOF
		o S
		= S0 end=@start after=1 bytes=0/0 syn_retrans=0 synack=@none ack=@none
		+ expired=1
	EOF
}

@test "S0: the time-out counts from the last SYN, and one attempt stays one" {
	play <<-EOF
		o S
		wait 0.2
		o S
		wait 0.4
		o S
		wait 0.8
		o S @end
		= S0 after=1 syn_retrans=3
		+ expired=1
	EOF
}

@test "a SYN that was sent again is the same attempt" {
	play <<-EOF
		o S
		wait 0.1
		o S
		r SA @synack
		o A @ack
		o FA @fin
		r FA @end
		= SF syn_retrans=1 bytes=0/0
	EOF
}

@test "a SYN that is seen twice within milliseconds, as a port that mirrors has it, was sent once" {
	play veth-in-4 veth-out-6 tun-in-6 <<-EOF
		o S
		o again
		wait 0.3
		o S
		o again
		r SA @synack
		o A @ack
		o FA @fin
		r FA @end
		= SF syn_retrans=1
	EOF
}

@test "two SYN-ACKs with different initial sequence numbers: the one counts that is acknowledged" {
	play <<-EOF
		o S
		r SA @synack
		r SA isn=2900000000 side
		o A ack=1 @ack
		o PA data=100
		r PA data=300
		o FA @fin
		r FA @end
		o A
		= SF bytes=100/300
		+ established=1
	EOF
	play <<-EOF
		o S
		r SA isn=2900000000 side @synack
		r SA
		o A @ack
		o PA data=100
		r PA data=300
		o FA @fin
		r FA @end
		o A
		= SF bytes=100/300
		+ established=1
	EOF
}

@test "a handshake in five segments: the responder acknowledges the SYN and sends its own apart" {
	play <<-EOF
		o S
		r A seq=700000000 side
		r S
		o SA seq=0 ack=1
		r A
		o PA data=100
		r PA data=300
		o FA @fin
		r FA @end
		o A
		= SF bytes=100/300 synack=@none ack=@none
		+ established=1
	EOF
}

@test "S1: the third segment never comes; the time-out counts from the last SYN-ACK" {
	play <<-EOF
		o S
		r SA @synack
		wait 0.6
		r SA @end
		= S1 after=1 bytes=0/0 ack=@none
		+ expired=1
	EOF
}

@test "SYN with another initial sequence number: a new attempt, the unanswered one was S0" {
	play <<-EOF
		o S
		wait 0.1
		o S isn=1000000 @second
		r SA @synack
		o A @ack
		o FA data=7 @fin
		r FA @end
		= S0 end=@start synack=@none ack=@none fin=@none
		= SF start=@second syn_retrans=0 bytes=7/0
		+ replaced=1
	EOF
}

@test "SYN with another initial sequence number: the answered attempt was S1" {
	play <<-EOF
		o S
		r SA @synack1
		o S isn=1000000 @second
		r SA isn=2000000 @synack
		o A @ack
		o FA @fin
		r FA @end
		= S1 end=@synack1 synack=@synack1 ack=@none fin=@none
		= SF start=@second
		+ replaced=1
	EOF
}

@test "ACK before SYN-ACK" {
	play <<-EOF
		o S
		o A ack=1
		r SA @synack
		o PA data=3
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=3/5 ack=@none
		+ established=1
	EOF
}

@test "data before SYN-ACK" {
	play <<-EOF
		o S
		o PA data=3 ack=1
		r SA ack=1 @synack
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=3/5
	EOF
}

@test "SYN-ACK before SYN" {
	play <<-EOF
		r SA ack=1
		o S @start
		o A
		r PA data=5
		o PA data=3
		o FA @fin
		r FA @end
		= SF start=@start bytes=3/5 synack=@none ack=@none
		+ established=1
	EOF
}

@test "FIN before SYN-ACK" {
	play <<-EOF
		o S
		o A ack=1
		o FA data=3 ack=1 @fin
		r SA ack=1 @synack
		o A
		r PA data=5
		r FA @end
		= SF bytes=3/5
		+ established=1
	EOF
}

@test "SH: SYN and FIN, never an answer" {
	play <<-EOF
		o S
		wait 0.1
		o FA data=3 ack=1 @fin
		= SH end=@fin bytes=3/0 synack=@none
		+ expired=1
	EOF
}

@test "OTH: an originator that acknowledges was answered, and lives for as long as it sends" {
	play <<-EOF
		o S
		o A ack=1
		wait 0.7
		o PA data=100 ack=301
		wait 0.7
		o A ack=601 @end
		= OTH after=1 bytes=100/-1 synack=@none ack=@none
		+ expired=1
	EOF
}

@test "SH: only the originator's direction is seen, up to the end" {
	play <<-EOF
		o S
		o A ack=1
		o PA data=100 ack=1
		wait 0.7
		o A ack=301
		wait 0.7
		o FA ack=301 @fin
		o A ack=302
		= SH end=@fin bytes=100/-1 synack=@none ack=@none
		+ expired=1
	EOF
}

@test "RSTO: only the originator's direction is seen, and it resets" {
	play <<-EOF
		o S
		o A ack=1
		o PA data=100 ack=1
		o RA ack=301 @end
		= RSTO bytes=100/-1 synack=@none ack=@none
	EOF
}

@test "only the responder's direction is seen: no record" {
	play <<-EOF
		r SA ack=1
		r PA data=100 ack=1
		r FA ack=1
		r R
		+ no_record_fin=1 no_record_rst=1
	EOF
}

@test "SYN with data that is acknowledged" {
	play <<-EOF
		o S data=100
		r SA @synack
		o A @ack
		o PA data=3
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=103/5
		+ established=1
	EOF
}

@test "SYN with data that is not acknowledged, and sent again" {
	play <<-EOF
		o S data=100
		r SA ack=1 @synack
		o PA seq=1 data=100 @ack
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=100/5
	EOF
}

@test "SYN with data, answered with data before the third segment" {
	play <<-EOF
		o S data=100
		r SA @synack
		r PA data=5
		r FA @fin
		o A @ack
		o FA @end
		= SF bytes=100/5
		+ established=1
	EOF
}

@test "S0 with data in the SYN" {
	play <<-EOF
		o S data=100
		= S0 end=@start bytes=100/0
		+ expired=1
	EOF
}

@test "crossing SYNs are one connection" {
	play <<-EOF
		o S
		r S
		o SA
		r SA @synack
		o PA data=3
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=3/5 syn_retrans=0
		+ established=1
	EOF
}

@test "crossing SYNs, the responder's answer first" {
	play <<-EOF
		o S
		r S
		r SA @synack
		o SA
		r PA data=5
		r FA @fin
		o FA @end
		= SF bytes=0/5 syn_retrans=0
		+ established=1
	EOF
}

@test "a SYN-ACK that does not acknowledge the SYN is none" {
	play <<-EOF
		o S
		r SA ack=5 side
		r SA ack=0 side
		= S0 end=@start synack=@none
		+ synack_disbelieved=2 expired=1
	EOF
}

@test "REJ: the SYN is answered by a RST" {
	play <<-EOF
		o S
		r RA @end
		= REJ bytes=0/0 synack=@none
	EOF
}

@test "REJ: a RST on a SYN with data acknowledges both or the SYN alone" {
	play <<-EOF
		o S data=100
		r RA ack=1 @end
		o S isn=1000000 data=100 @second
		r RA ack=101 @end2
		= REJ
		= REJ start=@second end=@end2
	EOF
}

@test "REJ: the responder takes its SYN-ACK back" {
	play <<-EOF
		o S
		r SA @synack
		r R @end
		= REJ
	EOF
}

@test "a RST that does not acknowledge the SYN ends nothing" {
	play <<-EOF
		o S
		r RA ack=5 side
		r RA ack=0 side
		r R side
		r SA @synack
		o A @ack
		o FA @fin
		r FA @end
		= SF
		+ rst_disbelieved=3
	EOF
}

@test "RSTOS0: the originator resets its own unanswered SYN" {
	play <<-EOF
		o S
		o R @end
		= RSTOS0 bytes=0/0
	EOF
}

@test "RSTO: the originator answers the SYN-ACK with a RST" {
	play <<-EOF
		o S
		r SA @synack
		o R @end
		= RSTO bytes=0/0 ack=@none
	EOF
}

@test "a RST far from the originator's SYN ends nothing" {
	play <<-EOF
		o S
		o R seq=100000 side
		r SA @synack
		o R seq=-100000 side
		o A @ack
		o FA @fin
		r FA @end
		= SF
		+ rst_disbelieved=2
	EOF
}

@test "S0, S1, SH: a handshake is under way when the tracker is taken away" {
	play <<-EOF
		o S @start
		flush
		= S0 bytes=0/0 end=@start
	EOF
	play <<-EOF
		o S
		r SA @synack
		flush
		= S1 bytes=0/0 end=@synack
	EOF
	play <<-EOF
		o S
		o FA data=4 @end
		flush
		= SH bytes=4/0 fin=@end
	EOF
}
