# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#
# Puts Community IDs into rows that record.awk has left a place in, which is as long as an ID. Before each row stands what its ID is made of, in
# hexadecimal digits, and a tab; nothing but the tab where it has none. It is perl, as no awk can reckon with 32 bits at a time: one process for any
# number of rows.
#
# NT_BATCHES=1: between the rows stand answers of record.awk, of six numbers or of three. The second of six says how many bytes of rows follow. Each
# answer goes out at once, with its rows.

use strict;
use warnings;
use Digest::SHA qw(sha1_base64);

# with_id(LINE): the row. What sha1_base64 leaves out is the = that base64 pads 20 bytes with.
sub with_id {
	my ($input, $row) = split /\t/, $_[0], 2;
	my $at;
	substr($row, $at, 30) = '1:' . sha1_base64(pack 'H*', $input) . '=' if $input ne '' && ($at = index($row, "\001")) >= 0;
	return $row;
}

binmode STDIN;
binmode STDOUT;
while (defined(my $line = <STDIN>)) {
	if (!$ENV{NT_BATCHES}) {
		print with_id($line) or exit 1;
		next;
	}
	my @number = split ' ', $line;
	my $bytes = @number == 6 ? $number[1] : 0;
	print $line or exit 1;
	while ($bytes > 0 && defined($line = <STDIN>)) {
		my $row = with_id($line);
		$bytes -= length $row;
		print $row or exit 1;
	}
	# To set it is to flush.
	$| = 1;
	$| = 0;
}
