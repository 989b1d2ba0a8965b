"""The line discipline N_TTY: input becomes lines, echo and signals (drivers/tty/n_tty.c)."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from emu.tty.output import OutputProcessor, is_alnum, is_continuation, is_control
from emu.tty.termios import DISABLED, INITIAL, Cc, Iflag, Lflag, Termios

#: The most input that is kept for readers; a line has room for this many bytes.
MAX_INPUT = 4095
#: So much echo waits for room; then the oldest is lost.
_MAX_ECHO = 4096
_NEWLINE, _RETURN, _TAB = 0x0A, 0x0D, 0x09
_SIGNALS = ((Cc.INTR, 2), (Cc.QUIT, 3), (Cc.SUSP, 20))


class LineDiscipline:
    """Input from a keyboard, and what readers get of it.

    ``send`` takes what is to be shown (echo), and says how much it could take; ``signal`` sends a signal to the
    foreground, ``flush_output`` discards output that nobody has seen, ``flow_changed`` is told when output is stopped
    or goes on.
    """

    def __init__(
        self,
        send: Callable[[bytes], int],
        signal: Callable[[int], object],
        flush_output: Callable[[], object],
        flow_changed: Callable[[bool], object],
    ) -> None:
        self.modes = INITIAL
        self.output = OutputProcessor()
        self._send, self._signal, self._flush_output, self._flow_changed = send, signal, flush_output, flow_changed
        #: Complete lines, one behind the other, and how long each is; an end-of-file character is no part of one.
        self._lines = bytearray()
        self._lengths = array("H")
        #: The line that is being typed; without ICANON what can be read.
        self._typed = bytearray()
        #: Input for which there is no room yet.
        self._waiting = bytearray()
        self._literal = self._erasing = False
        #: Output is stopped (Ctrl-S, TCOOFF), and echo waits.
        self.stopped = False
        #: Echo that is not shown yet, and the column before it.
        self._echo = bytearray()
        self._column = 0

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def canonical(self) -> bool:
        """Readers get lines."""
        return self.modes.has(Lflag.ICANON)

    @property
    def kept(self) -> int:
        """How many bytes are kept for readers."""
        return len(self._typed) + len(self._lines) + len(self._lengths)

    @property
    def room(self) -> int:
        """How many more bytes there is room for, before the other side has to wait."""
        return max(0, MAX_INPUT - len(self._waiting))

    def available(self) -> int:
        """FIONREAD: how many bytes can be read; of lines without what ends them as end of file."""
        if self.canonical:
            return len(self._lines)
        return len(self._typed)

    def readable(self, least: int = 1) -> bool:
        """Whether there is a line, or without ICANON so many bytes."""
        return bool(self._lengths) if self.canonical else len(self._typed) >= least

    def set_modes(self, modes: Termios) -> None:
        """New modes; input that is there is a line, or bytes, from now on (n_tty_set_termios)."""
        before, self.modes = self.modes, modes
        if (before.lflag ^ modes.lflag) & Lflag.ICANON:
            everything = bytes(self._lines + self._typed)
            self._discard()
            if everything and self.canonical:
                self._put_line(everything)
            else:
                self._typed += everything
        if self.stopped and before.has(Iflag.IXON) and not modes.has(Iflag.IXON):
            self.start()
        self._take_waiting()

    def flush_input(self) -> None:
        """Discard what nobody has read."""
        self._discard()
        self._waiting.clear()

    def _discard(self) -> None:
        self._lines.clear()
        del self._lengths[:]
        self._typed.clear()
        self._literal = self._erasing = False

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes: of one line if there are lines; ``b""`` for an end-of-file character alone."""
        if not self.canonical:
            data = bytes(self._typed[:count])
            del self._typed[:count]
        else:
            length = self._lengths[0]
            data = bytes(self._lines[: min(count, length)])
            del self._lines[: len(data)]
            if length > count:
                self._lengths[0] = length - count
            else:
                del self._lengths[0]
        self._take_waiting()
        return data

    # -- flow ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Output waits."""
        if not self.stopped:
            self.stopped = True
            self._flow_changed(True)

    def start(self) -> None:
        """Output goes on."""
        if self.stopped:
            self.stopped = False
            self.show_echo()
            self._flow_changed(False)

    # -- input -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, *, at_once: bool = True) -> None:
        """Bytes from the keyboard; not ``at_once``: nobody has the terminal open, and they wait for somebody."""
        self._waiting += data
        if at_once:
            self._take_waiting()

    def _take_waiting(self) -> None:
        """Take input as far as there is room: of a line that is full, the last byte is replaced."""
        waiting = self._waiting
        at = 0
        while at < len(waiting):
            if self.kept >= MAX_INPUT:
                if not self.canonical or self._lengths:
                    break
                if len(self._typed) > MAX_INPUT - 1:
                    self._typed.pop()
            self._receive_byte(waiting[at])
            at += 1
        del waiting[:at]
        self.show_echo()

    def _is(self, byte: int, *keys: Cc) -> bool:
        return byte != DISABLED and any(self.modes.cc[key] == byte for key in keys)

    def _receive_byte(self, byte: int) -> None:
        modes = self.modes
        if self._literal:
            self._literal = False
            self._add(byte)
            return
        if modes.has(Iflag.ISTRIP):
            byte &= 0x7F
        extended = modes.has(Lflag.IEXTEN)
        if modes.has(Iflag.IUCLC) and extended:
            byte = bytes((byte,)).lower()[0]
        if modes.has(Iflag.IXON) and self._is(byte, Cc.START, Cc.STOP):
            if self._is(byte, Cc.START):
                self.start()
            else:
                self.stop()
            return
        if modes.has(Lflag.ISIG):
            for key, signo in _SIGNALS:
                if self._is(byte, key):
                    self._signal_key(byte, signo)
                    return
        if self.stopped and modes.has(Iflag.IXON) and modes.has(Iflag.IXANY):
            self.start()
        typed = byte
        if byte == _RETURN:
            if modes.has(Iflag.IGNCR):
                return
            if modes.has(Iflag.ICRNL):
                byte = _NEWLINE
        elif byte == _NEWLINE and modes.has(Iflag.INLCR):
            byte = _RETURN
        if not self.canonical or not self._edit(byte, extended=extended):
            self._add(byte, as_key=typed == byte)

    def _signal_key(self, byte: int, signo: int) -> None:
        flushes = not self.modes.has(Lflag.NOFLSH)
        self._signal(signo)
        if flushes:
            if self._echo:
                self._echo.clear()
                self.output.column = self._column
            self._flush_output()
            self._discard()
        if self.modes.has(Iflag.IXON):
            self.start()
        if self.modes.has(Lflag.ECHO):
            self._echo_character(byte)

    def _edit(self, byte: int, *, extended: bool) -> bool:
        """The keys that edit and end lines; False for any other."""
        modes = self.modes
        echo = modes.has(Lflag.ECHO)
        if self._is(byte, Cc.ERASE, Cc.KILL) or (extended and self._is(byte, Cc.WERASE)):
            self._erase(byte)
        elif extended and self._is(byte, Cc.LNEXT):
            self._literal = True
            if echo:
                self._finish_erasing()
                if modes.has(Lflag.ECHOCTL):
                    self._echo_raw(b"^\b")
        elif extended and echo and self._is(byte, Cc.REPRINT):
            self._finish_erasing()
            self._echo_character(byte)
            self._echo_raw(b"\n")
            for typed in self._typed:
                self._echo_character(typed)
        elif byte == _NEWLINE:
            if echo or modes.has(Lflag.ECHONL):
                self._echo_raw(b"\n")
            self._end_line(b"\n")
        elif self._is(byte, Cc.EOF):
            self._end_line(b"")
        elif self._is(byte, Cc.EOL) or (extended and self._is(byte, Cc.EOL2)):
            if echo:
                self._begin_column()
                self._echo_character(byte)
            self._end_line(bytes((byte,)))
        else:
            return False
        return True

    def _end_line(self, end: bytes) -> None:
        self._put_line(bytes(self._typed) + end)
        self._typed.clear()

    def _put_line(self, line: bytes) -> None:
        self._lines += line
        self._lengths.append(len(line))

    def _add(self, byte: int, *, as_key: bool = False) -> None:
        """An ordinary character; ``as_key``: it is what was typed, so that without ICANON a newline is shown as one."""
        if self.modes.has(Lflag.ECHO):
            self._finish_erasing()
            if byte == _NEWLINE and not as_key:
                self._echo_raw(b"\n")
            else:
                self._begin_column()
                self._echo_character(byte)
        if byte == 0xFF and self.modes.has(Iflag.PARMRK):
            self._typed.append(byte)
        self._typed.append(byte)

    # -- erasing ---------------------------------------------------------------------------------------------------

    def _erase(self, key: int) -> None:
        """ERASE, WERASE and KILL (eraser)."""
        if not self._typed:
            return
        modes = self.modes
        word = self._is(key, Cc.WERASE)
        whole = self._is(key, Cc.KILL)
        if whole and not modes.has(Lflag.ECHO):
            self._typed.clear()
            return
        if whole and not (modes.has(Lflag.ECHOK) and modes.has(Lflag.ECHOKE) and modes.has(Lflag.ECHOE)):
            self._typed.clear()
            self._finish_erasing()
            self._echo_character(key)
            if modes.has(Lflag.ECHOK):
                self._echo_raw(b"\n")
            return
        self._erase_characters(word=word, whole=whole)
        if not self._typed and modes.has(Lflag.ECHO):
            self._finish_erasing()

    def _erase_characters(self, *, word: bool, whole: bool) -> None:
        typed, modes = self._typed, self.modes
        seen_word = False
        while typed:
            head = len(typed) - 1
            while head and is_continuation(typed[head], modes):
                head -= 1
            byte = typed[head]
            if is_continuation(byte, modes):
                return  # no character begins there
            if word:
                if is_alnum(byte) or byte == 0x5F:
                    seen_word = True
                elif seen_word:
                    return
            erased = bytes(typed[head:])
            del typed[head:]
            if modes.has(Lflag.ECHO):
                self._show_erased(erased, single=not (word or whole))
            if not (word or whole):
                return

    def _show_erased(self, erased: bytes, *, single: bool) -> None:
        """Take a character back on the screen."""
        modes, byte = self.modes, erased[0]
        if modes.has(Lflag.ECHOPRT):
            if not self._erasing:
                self._echo_raw(b"\\")
                self._erasing = True
            self._echo_character(byte)
            for rest in erased[1:]:
                self._echo_raw(bytes((rest,)))
                self.output.column -= 1
        elif single and not modes.has(Lflag.ECHOE):
            self._echo_character(modes.cc[Cc.ERASE])
        elif byte == _TAB:
            self._show(self.output.erase_tab(*self._columns_since_tab()))
        else:
            shown = modes.has(Lflag.ECHOCTL)
            if is_control(byte) and shown:
                self._echo_raw(b"\b \b")
            if not is_control(byte) or shown:
                self._echo_raw(b"\b \b")

    def _columns_since_tab(self) -> tuple[int, bool]:
        """How many columns there are since the last tab, or else the line's start, and whether it was a tab."""
        columns = 0
        for byte in reversed(self._typed):
            if byte == _TAB:
                return columns, True
            if is_control(byte):
                columns += 2 if self.modes.has(Lflag.ECHOCTL) else 0
            elif not is_continuation(byte, self.modes):
                columns += 1
        return columns, False

    def _finish_erasing(self) -> None:
        if self._erasing:
            self._echo_raw(b"/")
            self._erasing = False

    # -- echo ------------------------------------------------------------------------------------------------------

    def _begin_column(self) -> None:
        if not self._typed:
            self.output.canon_column = self.output.column

    def _echo_character(self, byte: int) -> None:
        """A control character is shown with a circumflex (ECHOCTL)."""
        if self.modes.has(Lflag.ECHOCTL) and is_control(byte) and byte != _TAB:
            self.output.column += 2
            self._show(bytes((0x5E, byte ^ 0x40)))
        else:
            self._echo_raw(bytes((byte,)))

    def _echo_raw(self, data: bytes) -> None:
        self._show(self.output.process(data, self.modes))

    def _show(self, data: bytes) -> None:
        self._echo += data
        if len(self._echo) > _MAX_ECHO:
            del self._echo[:-_MAX_ECHO]

    def show_echo(self) -> None:
        """Show what is typed, as far as there is room."""
        if not self.stopped:
            if self._echo:
                del self._echo[: self._send(bytes(self._echo))]
            self._column = self.output.column
