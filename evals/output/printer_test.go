package output_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// printerArg makes the test binary one of the programs that are supervised:
//
//	<binary> printer <folder> mixed <seed> <lines>      mixed to both streams, then exits 0
//	<binary> printer <folder> plain <lines> <pause>     lines of 61 bytes to stdout, then exits 0
//	<binary> printer <folder> flood <MB>                bytes without a newline to stdout, then exits 0
//	<binary> printer <folder> long <lines> <bytes>      lines of so many bytes, no two alike, then exits 0
//	<binary> printer <folder> steady <pause> <n> <file> lines of 61 bytes, n at a time, until SIGTERM; the file says how
//	                                                    many were printed
//	<binary> printer <folder> levels <lines>            lines of different levels, then waits for its end
const printerArg = "printer"

func printer(args []string) int {
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		if err != nil {
			panic(err)
		}
		return n
	}
	var err error
	switch args[1] {
	case "mixed":
		err = buffered(func(out, errs *bufio.Writer) error { return mixed(uint64(number(2)), number(3), out, errs) })
	case "plain":
		pause, perr := time.ParseDuration(args[3])
		err = errors.Join(perr, plain(os.Stdout, 0, number(2), pause))
	case "long":
		err = long(os.Stdout, number(2), number(3))
	case "flood":
		err = flood(os.Stdout, number(2))
	case "steady":
		pause, perr := time.ParseDuration(args[2])
		err = errors.Join(perr, steady(pause, number(3), args[4]))
	case "levels":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		if err = levels(os.Stdout, number(2)); err == nil {
			<-end
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func buffered(print func(out, errs *bufio.Writer) error) error {
	out, errs := bufio.NewWriterSize(os.Stdout, 16<<10), bufio.NewWriterSize(os.Stderr, 16<<10)
	return errors.Join(print(out, errs), out.Flush(), errs.Flush())
}

// noise is what long lines are cut from: printable text first, then bytes of any value but the newline.
var noise = sync.OnceValue(func() (n struct{ text, raw []byte }) {
	rnd := rand.New(rand.NewPCG(1, 2))
	n.text, n.raw = make([]byte, 512<<10), make([]byte, 512<<10)
	for i := range n.text {
		n.text[i] = byte(' ' + rnd.IntN(95))
		if n.raw[i] = byte(rnd.Uint32()); n.raw[i] == '\n' {
			n.raw[i] = 0
		}
	}
	return n
})

// longest is how long the longest of the mixed lines are.
const longest = 200 << 10

// mixed prints lines of 1 byte to 200 KiB, most of them short, to both streams; one in ten is not text.
func mixed(seed uint64, lines int, out, errs io.Writer) error {
	rnd := rand.New(rand.NewPCG(seed, 3))
	var line []byte
	for i := range lines {
		size := 0
		switch kind := rnd.IntN(2000); {
		case i == lines/2:
			size = longest - 1
		case kind == 0:
			size = rnd.IntN(longest)
		case kind < 40:
			size = rnd.IntN(4 << 10)
		default:
			size = rnd.IntN(160)
		}
		from := noise().text
		if rnd.IntN(10) == 0 {
			from = noise().raw
		}
		at := rnd.IntN(len(from) - size)
		line = append(line[:0], from[at:at+size]...)
		if size > 16 {
			copy(line, strconv.Itoa(i)+" ")
		}
		line = append(line, '\n')
		to := out
		if rnd.IntN(3) == 0 {
			to = errs
		}
		if _, err := to.Write(line); err != nil {
			return err
		}
		if f, ok := to.(*bufio.Writer); ok && i%97 == 0 {
			if err := f.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// long prints lines of text of so many bytes, newline included.
func long(w io.Writer, lines, size int) error {
	rnd, out := rand.New(rand.NewPCG(4, 5)), bufio.NewWriterSize(w, 64<<10)
	for range lines {
		for range size - 1 {
			out.WriteByte(byte(' ' + rnd.IntN(95))) // what fails, Flush says again
		}
		out.WriteByte('\n')
	}
	return out.Flush()
}

// plainLine is the nth numbered line of 61 bytes.
func plainLine(to []byte, n int) []byte {
	return fmt.Appendf(to, "%010d the quick brown fox jumps over the lazy dog 01234\n", n)
}

const plainSize = 61

// plain prints numbered lines, a block of a thousand at a time with a pause between two.
func plain(w io.Writer, from, lines int, pause time.Duration) error {
	buf := make([]byte, 0, 1000*plainSize)
	var tick <-chan time.Time
	if pause > 0 {
		t := time.NewTicker(pause)
		defer t.Stop()
		tick = t.C
	}
	for n := from; n < from+lines; {
		buf = buf[:0]
		for end := min(n+1000, from+lines); n < end; n++ {
			buf = plainLine(buf, n)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		if tick != nil {
			<-tick
		}
	}
	return nil
}

// flood prints megabytes (of 1 000 000 bytes) without a newline.
func flood(w io.Writer, megabytes int) error {
	block := floodBlock()
	for range megabytes {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// floodBlock is one of its megabytes; 65 537 is prime, so that no two pieces of 64 KiB are alike.
func floodBlock() []byte {
	b := make([]byte, 1_000_000)
	for i := range b {
		b[i] = byte('a' + i%65537%26)
	}
	return b
}

// steady prints numbered lines, some at a time, and notes in a file after each time how many it has printed. SIGTERM ends
// it between two times, so that the file tells the truth.
func steady(pause time.Duration, step int, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	t := time.NewTicker(pause)
	defer t.Stop()
	var text []byte
	for n := 0; ; {
		text = text[:0]
		for range step {
			text = plainLine(text, n)
			n++
		}
		if _, err := os.Stdout.Write(text); err != nil {
			return err
		}
		if _, err := f.WriteAt(strconv.AppendInt(nil, int64(n), 10), 0); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-end:
			return nil
		}
	}
}

// levels prints lines in turn of each level, in the forms that programs use, and one in ten that says nothing of it.
func levels(w io.Writer, lines int) error {
	b := bufio.NewWriter(w)
	for n := range lines {
		if _, err := b.WriteString(levelLine(n) + "\n"); err != nil {
			return err
		}
	}
	return b.Flush()
}

var levelForms = []string{
	`{"level":"debug","n":%d,"msg":"json"}`,
	`{"time":"2026-01-01T00:00:00Z","level":"INFO","n":%d}`,
	`level=warn msg="logfmt" n=%d`,
	`2026-01-01 00:00:00 ERROR plain n=%d`,
	`{"severity":"error","n":%d,"msg":"needle"}`,
}

func levelLine(n int) string { return fmt.Sprintf(levelForms[n%len(levelForms)], n) }
