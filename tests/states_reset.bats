#!/usr/bin/env bats
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# RSTs on established connections, seen by a tracker that has no socket to ask: docs/states.md. Language: tests/wire/play.py.

load helpers
load wire/wire

@test "RSTO: reset by the originator, believed after a second of silence" {
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		o RA @end
		= RSTO after=1 bytes=3/0
	EOF
}

@test "RSTR: reset by the responder, believed after a second of silence" {
	play <<-EOF
		o S
		r SA
		o A
		r PA data=5
		r R @end
		= RSTR after=1 bytes=-1/5
	EOF
}

@test "resets of both sides are one end, the first" {
	play <<-EOF
		o S
		r SA
		o A
		r RA @end
		o R
		r R
		= RSTR after=1
	EOF
}

@test "a RST is refuted by its sender's next segment" {
	play <<-EOF
		o S
		r SA
		o A
		r PA data=5
		r R seq=1 side
		r PA data=5
		wait 1.2
		o FA @fin
		r FA @end
		= SF bytes=0/10
		+ rst_disbelieved=1
	EOF
}

@test "a RST is refuted by traffic that goes on" {
	play <<-EOF
		o S
		r SA
		o A
		r R seq=1000000 side
		wait 0.1
		o PA data=3
		wait 1.2
		r PA data=5
		o FA @fin
		r FA @end
		= SF bytes=3/5
		+ rst_disbelieved=1
	EOF
}

@test "a RST on a half-closed connection is refuted, and the connection still times out" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r R seq=1000000 side
		wait 0.1
		r PA data=5 @end
		= S2 after=2
		+ rst_disbelieved=1 expired=1
	EOF
}

# The round trip of the handshake decides how long something may have been on its way.
@test "segments that a RST has overtaken do not refute it" {
	play <<-EOF
		o S
		wait 0.1
		r SA
		o A
		r R seq=11 side @end
		r PA seq=1 data=5
		r PA seq=6 data=5
		o A
		= RSTR after=1 bytes=-1/10
	EOF
}

@test "each RST is judged for itself: one refuted, the next believed" {
	play <<-EOF
		o S
		r SA
		o A
		r R seq=1000000 side
		wait 0.1
		o PA data=3
		o R @end
		= RSTO after=1 bytes=3/-1
		+ rst_disbelieved=1
	EOF
}

@test "FIN, RST, FIN ends at the RST" {
	play <<-EOF
		o S
		r SA
		o A
		o FA data=3 @fin
		o R @end
		r FA
		= RSTO bytes=3/-1
		+ no_record_fin=1
	EOF
}

@test "a RST in the place of its sender's FIN" {
	play <<-EOF
		o S
		r SA
		o A
		r FA data=5 @fin
		r R seq=6 @end
		= RSTR bytes=-1/5
	EOF
}

@test "FIN of one side, RST of the other" {
	play <<-EOF
		o S
		wait 0.1
		r SA
		o A
		o FA data=3 @fin
		r RA @end
		o again
		= RSTR after=1 bytes=3/0
	EOF
}

@test "a RST tells of its receiver's FIN if it acknowledges all that came before it" {
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		o FA @fin
		r RA ack=4 @end
		= RSTR after=1 bytes=3/0
	EOF
	play <<-EOF
		o S
		r SA
		o A
		o PA data=3
		o FA data=5 @fin
		r RA ack=4 @end
		= RSTR after=1 bytes=-1/0
	EOF
}

@test "a FIN that nobody acknowledged, where the handshake ended: nothing was sent" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r R @end
		= RSTR after=1 bytes=0/0
	EOF
	play <<-EOF
		o S
		r SA
		o A
		r FA @fin
		o R @end
		= RSTO after=1 bytes=0/0
	EOF
}

@test "a RST behind its sender's own FIN tells of the other side what it acknowledges" {
	play <<-EOF
		o S
		r SA
		o A
		o FA data=3 @fin
		r PA data=5
		o RA @end
		= RSTO bytes=3/5
	EOF
	play <<-EOF
		o S
		r SA
		o A
		r FA data=5 @fin
		o PA data=3
		r R @end
		= RSTR bytes=-1/5
	EOF
}

@test "RST after both FINs changes nothing" {
	play <<-EOF
		o S
		r SA
		o A
		o FA @fin
		r FA @end
		o R
		= SF
		+ no_record_rst=1
	EOF
}
