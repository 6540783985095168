# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# closer.pl SYSCALL PROGRAM CGROUP PIN: have the program that is pinned as PROGRAM run when a socket of that cgroup, or of one below it, is
# closed, for as long as PIN is there. CGROUP is a directory of cgroup v2, SYSCALL the number of bpf(2) on this machine. Exit status: 0; 1:
# the kernel's reason is on stderr, a word of strerror(3), and nothing has been done.
#
# Why not bpftool: what it attaches to a cgroup stays until somebody detaches it, by the program's number, and is nobody's meanwhile. This is
# a link, which ends with its pin.
use strict;
use warnings;

# <linux/bpf.h>: enum bpf_cmd, enum bpf_attach_type.
use constant { OBJ_PIN => 6, OBJ_GET => 7, LINK_CREATE => 28, CGROUP_INET_SOCK_RELEASE => 34 };

my ($syscall, $program, $cgroup, $pin) = @ARGV;

sub give_up {
	print STDERR "$!\n";
	exit 1;
}

# bpf(COMMAND, ATTRIBUTES): what the system call returns.
sub bpf {
	my $result = syscall($syscall + 0, $_[0] + 0, $_[1], length $_[1]);
	give_up if $result < 0;
	return $result;
}

# path(FILE): its address, for a place in the attributes.
sub path {
	return unpack 'J', pack 'p', $_[0];
}

sysopen my $directory, $cgroup, 0 or give_up;
my $fd = bpf(OBJ_GET, pack 'Q L2', path($program), 0, 0);

# program, target, type, flags
my $link = bpf(LINK_CREATE, pack 'L4', $fd, fileno $directory, CGROUP_INET_SOCK_RELEASE, 0);
bpf(OBJ_PIN, pack 'Q L2', path($pin), $link, 0);
