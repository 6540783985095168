# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# TCX, by the system call itself:
#
#	tcx.pl SYSCALL query DEV…                 print IFINDEX HOOK PROGRAM DEV, PROGRAM its id, of each there, in the order in which packets pass
#	                                          them; nothing of an interface that is not there (any more)
#	tcx.pl SYSCALL attach DEV HOOK PROGRAM    hang the program with this id there, before all others; it stays until it is detached
#	tcx.pl SYSCALL detach DEV HOOK PROGRAM    take it, and no other one, away
#
# SYSCALL is the number of bpf(2) on this machine; DEV the name of an interface of the network namespace at hand; HOOK ingress or egress.
# Exit status: 0; 1: the kernel's reason is on stderr, a word of strerror(3); 3: this kernel has no TCX.
#
# Why not bpftool: what it attaches comes behind all others (before 7.8), and what it detaches is the last one, whosever it is.
use strict;
use warnings;

# <linux/bpf.h>: enum bpf_cmd, enum bpf_attach_type, flags of bpf_attr.attach_flags.
use constant { PROG_ATTACH => 8, PROG_DETACH => 9, PROG_GET_FD_BY_ID => 13, PROG_QUERY => 16 };
use constant { BPF_F_BEFORE => 1 << 3, PROGRAMS_MAX => 64 };    # BPF_MPROG_MAX
my %TYPE = (ingress => 46, egress => 47);
use constant { ENODEV => 19, EINVAL => 22 };

my ($syscall, $verb, @rest) = @ARGV;

# bpf(COMMAND, ATTRIBUTES): what the system call returns; ends with the kernel's reason.
sub bpf {
	my ($command) = @_;
	my $result = syscall($syscall + 0, $command + 0, $_[1], length $_[1]);
	return $result if $result >= 0;
	exit 3 if $! == EINVAL && $command == PROG_QUERY;
	return $result if $! == ENODEV && $command == PROG_QUERY;
	print STDERR "$!\n";
	exit 1;
}

# index_of(DEV): its number; 0: there is none of this name. <linux/sockios.h>, struct ifreq.
sub index_of {
	use constant { AF_INET => 2, SOCK_DGRAM => 2, SIOCGIFINDEX => 0x8933 };
	my $request = pack 'Z16 x24', $_[0];
	socket my $socket, AF_INET, SOCK_DGRAM, 0 or return 0;
	return ioctl($socket, SIOCGIFINDEX, $request) ? unpack('x16 i', $request) : 0;
}

if ($verb eq 'query') {
	for (map { my $index = index_of($_); $index ? ("$index ingress $_", "$index egress $_") : () } @rest) {
		my ($ifindex, $hook, $dev) = split;
		my $ids = "\0" x (4 * PROGRAMS_MAX);

		# target, type, 2 flags, ids, count, 4 more
		my $attributes = pack 'L4 Q L x4 Q4', $ifindex, $TYPE{$hook}, 0, 0, unpack('J', pack 'P', $ids), PROGRAMS_MAX, 0, 0, 0, 0;
		next if bpf(PROG_QUERY, $attributes) < 0;
		my $count = unpack 'x24 L', $attributes;
		print map { "$ifindex $hook $_ $dev\n" } unpack "L$count", $ids;
	}
} else {
	my ($dev, $hook, $program) = @rest;
	my $ifindex = index_of($dev);
	my $fd = bpf(PROG_GET_FD_BY_ID, pack 'L3', $program, 0, 0);

	# target, program, type, flags, 2 of others, revision
	my $attributes = pack 'L6 Q', $ifindex, $fd, $TYPE{$hook}, $verb eq 'attach' ? BPF_F_BEFORE : 0, 0, 0, 0;
	bpf($verb eq 'attach' ? PROG_ATTACH : PROG_DETACH, $attributes);
}
