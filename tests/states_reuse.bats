#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# SYNs on tuples that have a connection already: a forgery, or a new connection. docs/states.md. Language: tests/wire/play.py.

load helpers
load wire/wire

@test "a tuple used again after a close" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r FA @end
		o A
		o S isn=1000000 @second
		r SA isn=2000000
		o A
		o FA data=3 @fin2
		r FA data=5 @end2
		= SF bytes=0/0
		= SF start=@second fin=@fin2 end=@end2 bytes=3/5
	EOF
}

@test "a tuple used again while established: the old connection was S1" {
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		wait 0.1
		o S isn=1000000 @second
		wait 0.1
		r SA isn=2000000 @synack
		o A @ack
		o FA @fin
		r FA @end
		= S1 end=@second bytes=-1/-1 fin=@none synack=@any ack=@any
		= SF start=@second bytes=0/0
		+ replaced=1 established=2
	EOF
}

@test "a tuple used again while half-closed: the old connection was S2, S3" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin1
		r PA data=5 @last
		wait 0.1
		o S isn=1000000 @second
		r SA isn=2000000
		o A
		o FA @fin
		r FA @end
		= S2 end=@last fin=@fin1 bytes=0/-1
		= SF start=@second bytes=0/0
		+ replaced=1
	EOF
	play <<-EOF
		o S
		r SA
		o A
		r FA @fin1
		o PA data=5 @last
		wait 0.1
		o S isn=1000000 @second
		r SA isn=2000000
		o A
		o FA @fin
		r FA @end
		= S3 end=@last fin=@fin1 bytes=-1/0
		= SF start=@second bytes=0/0
		+ replaced=1
	EOF
}

@test "a tuple used again right after a RST: the old connection was reset" {
	play <<-EOF
		o S
		r SA
		o A
		o R @rst
		o S isn=1000000 @second
		r SA isn=2000000
		o A
		o FA @fin
		r FA @end
		= RSTO end=@rst fin=@none
		= SF start=@second
		+ replaced=1
	EOF
}

@test "a tuple used again by the other side" {
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		r S isn=1000000 @second
		o SA isn=2000000
		r A
		o PA data=7
		r FA @fin
		o FA @end
		= S1 end=@second bytes=-1/-1 fin=@none
		= SF by=r start=@second bytes=0/7
		+ replaced=1
	EOF
}

@test "a SYN of this very connection, come late, is nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o S
		o PA data=3
		o S
		o FA @fin
		o S
		r FA @end
		= SF syn_retrans=0 bytes=3/0
	EOF
}

@test "a forged SYN that nobody answers ends nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o S isn=1000000 side
		wait 1.3
		o PA data=3
		o FA @fin
		r FA @end
		= SF bytes=3/0
		+ syn_disbelieved=1
	EOF
}

@test "a forged SYN that is answered by a challenge ACK ends nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o S isn=1000000 side
		r A
		o PA data=3
		r PA data=5
		wait 1.3
		o FA @fin
		r FA @end
		= SF bytes=3/5
		+ syn_disbelieved=1
	EOF
}

@test "a forged SYN leaves no record when the connection closes before it is forgotten" {
	play <<-EOF
		o S
		r SA
		o A
		o S isn=1000000 side
		r A
		o FA @fin
		r FA @end
		o A
		= SF bytes=0/0
		+ syn_disbelieved=1
	EOF
}

@test "a forged SYN in the other direction ends nothing" {
	play <<-EOF
		o S
		r SA
		o A
		r S isn=1000000 side
		o A
		wait 1.3
		o FA @fin
		r FA @end
		= SF bytes=0/0
		+ syn_disbelieved=1
	EOF
}

@test "a SYN on a live connection's tuple that becomes a connection of its own once the old one has gone" {
	play <<-EOF
		o S
		r SA
		o A
		o S isn=1000000 side @second
		r A
		o R @end
		wait 0.2
		o S isn=1000000
		r SA isn=2000000
		o A
		o FA @fin
		r FA @end2
		= RSTO fin=@none
		= SF start=@second end=@end2 syn_retrans=1
		+ replaced=1
	EOF
}
