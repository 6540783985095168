# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What this host's connections carry at the moment: the screen of `netracker top`, and its frames as text.

scripts/lib/top.sh starts it and says in the environment, NT_*, what is wanted. All that is known comes from the pinned views, read as
files; nothing is written anywhere but to the terminal. Each source is read no more often than its share of a CPU allows.
"""
import ctypes
import os
import pwd
import re
import signal
import sys
import time

VIEWS = os.environ.get("NT_VIEWS", "/sys/fs/bpf/netracker")
BYS = ("connections", "services", "processes", "peers")
SORTS = {"b": "bytes", "r": "retrans", "a": "age", "n": "connections"}
KEYS = "c s p o Tab view  b r a n sort  / filter  Space pause  h help  q quit"
HELP = """\
c  connections          b  by bytes a second
s  services             r  by segments sent again
p  processes            a  by age, the oldest first
o  other ends (peers)   n  by number of connections
Tab  the next of these  /  only rows with these letters; Esc: all
Space  stop, go on      h  this text      q  end

IN/S, OUT/S: payload that came to this host, that left it, bytes a second.
RETR: segments sent again since the frame before. -: unknown, as of what is
forwarded. Any key goes back.
"""
CLONE_NEWNET = 0x40000000
FAILED = os.environ.get("NT_FAILED", "").split(",")  # the states of connections that have failed


class Ended(BaseException):
    """A signal wants us to end."""


def plain(text):
    """Text from outside without anything that a terminal could obey: what the views have escaped, and what is not of ASCII, is a ?."""
    return "".join(c if " " <= c <= "~" else "?" for c in re.sub(r"(\\x[0-9A-Fa-f]{2})+", "?", text))


def amount(number):
    """At most five columns: 999, 1.2K, 34M."""
    if number is None:
        return "-"
    for unit in ("", "K", "M", "G", "T"):
        if number < 999.5 or unit == "T":
            return f"{number:.0f}{unit}" if not unit or number >= 10 else f"{number:.1f}{unit}"
        number /= 1000


def span(seconds):
    """At most four columns: 59s, 59m, 23h, 99d."""
    for unit, size in (("s", 60), ("m", 60), ("h", 24)):
        if seconds < size:
            return f"{seconds:.0f}{unit}"
        seconds /= size
    return f"{seconds:.0f}d"


def values(words):
    """key=value words as a dict."""
    return dict(word.split("=", 1) for word in words if "=" in word)


class Budget:
    """When a source is due: not before its interval, and no more often than its share of a CPU allows."""

    def __init__(self, share, interval):
        self.share, self.interval, self.began, self.cost = share, interval, None, 0.0

    def due(self, now):
        return self.began is None or now - self.began >= self.every()

    def every(self):
        return max(self.interval * 0.9, self.cost / self.share)

    def spend(self, work):
        """Do the work, and remember what it cost."""
        self.began, cpu = time.monotonic(), time.process_time()
        work()
        self.cost = time.process_time() - cpu


class Connection:
    """One that is alive, as its record and its socket say."""

    __slots__ = ("local", "remote", "outbound", "state", "start", "user", "pid", "comm", "acked", "received", "retrans", "srtt",
                 "out_rate", "in_rate", "resent", "told")

    def __init__(self, local, remote, record, start):
        self.local, self.remote, self.start = local, remote, start
        self.outbound = record.get("dir") == "out"
        self.state = record.get("state", "-")
        self.user = record.get("uid")
        self.pid, self.comm = record.get("pid"), plain(record.get("comm", "-"))
        self.acked = self.received = self.retrans = self.told = 0
        self.srtt = self.out_rate = self.in_rate = None
        self.resent = 0

    def service(self):
        """dir and port of the responder."""
        return ("out", port_of(self.remote)) if self.outbound else ("in", port_of(self.local))


def port_of(end):
    return end.rsplit(":", 1)[1]


def address_of(end):
    return end.rsplit(":", 1)[0]


class Source:
    """What is alive and what it carries, from the views."""

    def __init__(self, delay):
        self.delay = delay
        self.connections, self.sockets, self.holders = {}, {}, {}
        self.live, self.new_rate, self.failed_rate = 0, None, None
        self.failures = {}  # of a service, a second
        self._counted = None
        self._walked = None
        self._round = 0
        self._walk = Budget(0.022, delay)
        self._list = Budget(0.007, 5 * delay)
        self._moving = Budget(0.003, delay)
        self._hold = Budget(0.005, 5 * delay)
        self._count = Budget(0.003, delay)
        self._spaces = dict(line.split(" ", 1) for line in os.environ.get("NT_NETNS", "").splitlines() if " " in line)
        self._own = str(os.stat("/proc/self/ns/net").st_ino)

    def update(self, force=False):
        """Read what is due."""
        now = time.monotonic()
        if force or self._list.due(now):
            self._list.spend(self._read_list)
        if force or self._moving.due(now):
            self._moving.spend(lambda: self._take_records("handshake_records"))
        if force or self._walk.due(now):
            self._walk.spend(self._read_sockets)
        if force or self._hold.due(now):
            self._hold.spend(self._read_holders)
        if force or self._count.due(now):
            self._count.spend(self._read_counts)

    def slow(self):
        """How many seconds lie between two looks at the sockets, if more than between two frames; else None."""
        return self._walk.every() if self._walk.every() > self.delay else None

    @staticmethod
    def _lines(view):
        with open(os.path.join(VIEWS, view), encoding="utf-8", errors="replace", newline="\n") as file:
            yield from file

    def _read_list(self):
        self._round += 1
        self._take_records("records")
        self._take_records("handshake_records")
        gone = [ends for ends, c in self.connections.items() if c.told != self._round]
        for ends in gone:
            del self.connections[ends]
            self.sockets.pop(ends, None)

    def _take_records(self, view):
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        for line in self._lines(view):
            words = line.split()
            if len(words) < 5 or words[1] != "->":
                continue
            out = " dir=out " in line
            ends = (words[0], words[2]) if out else (words[2], words[0])
            known = self.connections.get(ends)
            if known and view == "records":
                known.told, known.state = self._round, words[4][6:]
                continue
            record = values(words[3:])
            start = int(record["start_ns"]) / 1e9 if "start_ns" in record else now - int(record["age_ns"]) / 1e9
            if not known or abs(known.start - start) > 0.001:
                self.connections[ends] = known = Connection(*ends, record, start)
                before = self.sockets.get(ends)
                if before:
                    known.acked, known.received, known.retrans, known.srtt = before
            known.told, known.state = self._round, record.get("state", "-")

    def _read_sockets(self):
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        first, since = self._walked is None, began - (self._walked or began)
        self._walked = began
        for c in self.connections.values():
            c.resent = 0
            if c.out_rate:
                c.out_rate = 0.0
            if c.in_rate:
                c.in_rate = 0.0
        spaces = set()
        for line in self._lines("busy"):
            self._take_socket(line, first, since, spaces)
        # Those of other namespaces: into each, and back. Only root can.
        for inode in spaces - {self._own}:
            if inode in self._spaces:
                for line in self._lines_there(self._spaces[inode]):
                    self._take_socket(line, first, since, spaces)

    def _lines_there(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        file = None
        try:
            if libc.setns(there, CLONE_NEWNET) == 0:
                file = open(os.path.join(VIEWS, "busy"), encoding="utf-8", errors="replace", newline="\n")
        finally:
            libc.setns(home, CLONE_NEWNET)
            os.close(there)
            os.close(home)
        if file:
            with file:
                yield from file

    def _take_socket(self, line, first, since, spaces):
        words = line.split()
        if words[0] == "interface":
            if len(words) == 3:
                spaces.add(words[2])
            return
        ends = (words[0], words[1])
        acked, received, srtt, retrans = (int(word.split("=", 1)[1]) for word in words[3:7])
        before = self.sockets.get(ends)
        self.sockets[ends] = acked, received, retrans, srtt
        c = self.connections.get(ends)
        if not c:
            return
        if not before or (c.acked, c.received) == (0, 0):
            c.acked, c.received, c.retrans = (acked, received, retrans) if first or c.start < self._walked - since else (0, 0, 0)
        if first or since <= 0:
            c.out_rate = c.in_rate = 0.0
        else:
            c.out_rate, c.in_rate = max(0, acked - c.acked) / since, max(0, received - c.received) / since
            c.resent = max(0, retrans - c.retrans)
        c.acked, c.received, c.retrans, c.srtt = acked, received, retrans, srtt

    def _read_holders(self):
        try:
            for line in self._lines("holders"):
                words = line.split()
                c = self.connections.get((words[0], words[1]))
                if c and not c.pid and len(words) == 6:
                    c.pid, c.comm = words[2][4:], plain(words[3][5:])
        except FileNotFoundError:
            pass  # the kernel has no such view; then nobody is named

    def _read_counts(self):
        ended, counts = {}, {"netracker_connections_attempted_total": 0, "netracker_connections_live": 0}
        now = time.monotonic()
        for line in self._lines("metrics"):
            name, _, value = line.rpartition(" ")
            if name in counts:
                counts[name] = int(value)
            elif name.startswith("netracker_connections_ended_total{"):
                direction, port, state = re.findall(r'="([^"]*)"', name)
                if state in FAILED:
                    ended[direction, port] = ended.get((direction, port), 0) + int(value)
        attempts = counts["netracker_connections_attempted_total"]
        self.live = counts["netracker_connections_live"]
        if self._counted:
            then, attempts_then, ended_then = self._counted
            passed = max(now - then, 0.001)
            self.new_rate = max(0, attempts - attempts_then) / passed
            self.failures = {key: (n - ended_then.get(key, 0)) / passed for key, n in ended.items() if n > ended_then.get(key, 0)}
            self.failed_rate = sum(self.failures.values())
        self._counted = now, attempts, ended


class Group:
    """The connections of a service, a process or a peer together."""

    def __init__(self, words):
        self.words, self.connections, self.in_rate, self.out_rate, self.resent, self.start = words, 0, 0.0, 0.0, 0, None

    def add(self, c):
        """One more connection."""
        self.connections += 1
        self.in_rate += c.in_rate or 0
        self.out_rate += c.out_rate or 0
        self.resent += c.resent
        self.start = c.start if self.start is None else min(self.start, c.start)


USERS = {}


def user_of(uid):
    """The name of a uid, else the number."""
    if uid is None:
        return "-"
    if uid not in USERS:
        try:
            USERS[uid] = plain(pwd.getpwuid(int(uid)).pw_name)
        except (KeyError, ValueError):
            USERS[uid] = uid
    return USERS[uid]


def key_of(by, c):
    """By what a connection belongs to a group."""
    if by == "services":
        return c.service()
    return (c.pid or "-", c.comm) if by == "processes" else (address_of(c.remote),)


def order(sort):
    """The key by which rows of this kind come one after the other, the first first."""
    def rate(row):
        return -((row.in_rate or 0) + (row.out_rate or 0))

    return {
        "bytes": lambda row: (rate(row), -row.resent),
        "retrans": lambda row: (-row.resent, rate(row)),
        "age": lambda row: row.start or 0,
        "connections": lambda row: (-getattr(row, "connections", 1), rate(row)),
    }[sort]


def rows(source, by, sort, wanted, most, width):
    """The head of the table, and its first rows, as text."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    if by == "connections":
        full = width >= 120
        there = 24 if full else 21
        head = (f"{'LOCAL':<24} " if full else f"{'LOCAL':<7}") + f"{'REMOTE':<{there}} DIR STATE  AGE  IN/S OUT/S SRTT_MS RETR " + (
            f"{'USER':<10} PROCESS" if full else "PROCESS")

        def show(c):
            local = f"{c.local:<24.47} " if full else f":{port_of(c.local):<6}"
            srtt = f"{c.srtt / 1000:.2f}" if c.srtt else "-"
            who = c.comm if c.pid is None or not full else f"{c.comm}/{c.pid}"
            return (f"{local}{c.remote:<{there}.47} {'out' if c.outbound else 'in':<3} {c.state:<5} {span(max(0, now - c.start)):>4} "
                    f"{amount(c.in_rate):>5} {amount(c.out_rate):>5} {srtt:>7} {c.resent if c.srtt is not None else '-':>4} "
                    + (f"{user_of(c.user):<10.10} " if full else "") + who)

        found = source.connections.values()
    else:
        names = {"services": f"{'DIR':<4}{'PORT':<6}", "processes": f"{'PID':<8}{'PROCESS':<16}", "peers": f"{'PEER':<40}"}[by]
        head = f"{names}  LIVE  IN/S OUT/S RETR" + (" FAILED/S" if by == "services" else "")
        groups = {}
        for c in source.connections.values():
            key = key_of(by, c)
            if key not in groups:
                groups[key] = Group(key)
            groups[key].add(c)
        if by == "services":
            for key in source.failures:
                groups.setdefault(key, Group(key))

        def show(group):
            words = group.words
            name = {"services": lambda: f"{words[0]:<4}{words[1]:<6}", "processes": lambda: f"{words[0]:<8}{words[1]:<16}",
                    "peers": lambda: f"{words[0]:<40}"}[by]()
            failed = f" {source.failures.get(words, 0):8.1f}" if by == "services" else ""
            return f"{name} {group.connections:5} {amount(group.in_rate):>5} {amount(group.out_rate):>5} {group.resent:4}{failed}"

        found = groups.values()
    if wanted:
        text = [(row, show(row)) for row in found]
        found = [row for row, shown in text if wanted.lower() in shown.lower()]
    if most is not None and most < len(found):
        import heapq
        found = heapq.nsmallest(most, found, key=order(sort))
    else:
        found = sorted(found, key=order(sort))
    return head, [show(row) for row in found]


def head_line(source):
    """New, failed and live connections; and how often the sockets are asked, if that is not in each frame."""
    new, failed = ("-" if rate is None else f"{rate:.1f}" for rate in (source.new_rate, source.failed_rate))
    slow = source.slow()
    return f"new/s {new}  failed/s {failed}  live {source.live}" + (f"  sockets every {slow:.1f} s" if slow else "")


def print_frames(source, frames, delay, by, sort, most):
    """For scripts: no terminal, no colours, all rows unless there may be only so many."""
    source.update(True)
    for frame in range(frames):
        time.sleep(delay)
        source.update(True)
        head, table = rows(source, by, sort, "", most, 120)
        sys.stdout.write("\n".join(([""] if frame else []) + [head_line(source), head] + [row.rstrip() for row in table]) + "\n")
        sys.stdout.flush()


class Screen:
    """The terminal, as long as it is ours."""

    def __init__(self, curses, window, source, delay, by, sort):
        self.curses, self.window, self.source, self.delay = curses, window, source, delay
        self.by, self.sort, self.wanted, self.typing, self.paused, self.helping = by, sort, "", False, False, False

    def put(self, y, text, attributes=0):
        """A line; what does not fit is cut off. The last column of the last line cannot be written to."""
        height, width = self.window.getmaxyx()
        if y < height:
            try:
                self.window.addnstr(y, 0, text.ljust(width - 1), width - 1, attributes)
            except self.curses.error:
                pass  # the window has become smaller meanwhile

    def draw(self):
        """All of it; curses sends what is different alone."""
        height, width = self.window.getmaxyx()
        self.window.erase()
        if self.helping:
            for y, line in enumerate(HELP.splitlines()):
                self.put(y, line)
        else:
            head, table = rows(self.source, self.by, self.sort, self.wanted, max(0, height - 3), width)
            self.put(0, head_line(self.source) + f"  {self.by} by {self.sort}" + ("  paused" if self.paused else ""))
            self.put(1, head, self.curses.A_REVERSE)
            for y, row in enumerate(table[:max(0, height - 3)]):
                self.put(y + 2, row)
            bottom = f"/{self.wanted}" + ("_" if self.typing else "  Esc: all") if self.typing or self.wanted else KEYS
            self.put(height - 1, bottom)
        self.window.refresh()

    def key(self, key):
        """Do what it says. Returns False at the end."""
        letter = chr(key) if 0 <= key < 128 else ""
        if key == self.curses.KEY_RESIZE:
            self.curses.update_lines_cols()
        elif self.helping:
            self.helping = False
        elif key == 27:
            self.wanted, self.typing = "", False
        elif self.typing:
            if letter in ("\n", "\r"):
                self.typing = False
            elif key in (self.curses.KEY_BACKSPACE, 127, 8):
                self.wanted = self.wanted[:-1]
            elif letter and letter.isprintable():
                self.wanted += letter
        elif letter == "q":
            return False
        elif letter in ("h", "?") and letter:
            self.helping = True
        elif letter == "/":
            self.typing = True
        elif letter == " ":
            self.paused = not self.paused
        elif letter == "\t":
            self.by = BYS[(BYS.index(self.by) + 1) % len(BYS)]
        elif letter in SORTS:
            self.sort = SORTS[letter]
        else:
            self.by = {"c": "connections", "s": "services", "p": "processes", "o": "peers"}.get(letter, self.by)
        return True

    def run(self):
        """Until somebody ends it."""
        due, drawing = 0.0, Budget(0.012, self.delay)
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + self.delay
                if not self.paused:
                    self.source.update()
                if drawing.due(now):
                    drawing.spend(self.draw)
            self.window.timeout(max(1, int((due - time.monotonic()) * 1000)))
            key = self.window.getch()
            if key != -1:
                if not self.key(key):
                    return
                self.draw()


def show_screen(source, delay, by, sort):
    """Take the terminal, and give it back as it was, whatever happens."""
    import curses

    os.environ.pop("LINES", None)
    os.environ.pop("COLUMNS", None)
    os.environ.setdefault("ESCDELAY", "50")
    curses.setupterm()
    window = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        try:
            curses.curs_set(0)
        except curses.error:
            pass  # not every terminal can hide it
        Screen(curses, window, source, delay, by, sort).run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        window.keypad(False)
        try:
            curses.curs_set(1)
        except curses.error:
            pass
        curses.nocbreak()
        curses.echo()
        curses.endwin()


def end(number, _frame):
    """The handler of signals that end us."""
    raise Ended(number)


def main():
    """Frames as text if NT_FRAMES says how many, else the screen."""
    env = os.environ
    delay, most = float(env["NT_DELAY"]), int(env["NT_MAX_ROWS"]) if env.get("NT_MAX_ROWS") else None
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        source = Source(delay)
        if env.get("NT_FRAMES"):
            print_frames(source, int(env["NT_FRAMES"]), delay, env["NT_BY"], env["NT_SORT"], most)
        else:
            show_screen(source, delay, env["NT_BY"], env["NT_SORT"])
    except Ended as ended:
        signal.signal(ended.args[0], signal.SIG_DFL)
        os.kill(os.getpid(), ended.args[0])
    except FileNotFoundError as error:
        sys.exit(f"netracker: top: {error.filename} is gone, the tracker has been detached meanwhile; 'netracker attach' makes it anew")
    except Exception as error:  # whatever it is: one sentence, and the terminal as it was
        sys.exit(f"netracker: top: it ended unexpectedly ({type(error).__name__}: {plain(str(error))}); start again, or take --once")


if __name__ == "__main__":
    main()
