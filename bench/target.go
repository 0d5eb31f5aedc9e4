package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
)

// bulk is how much a load is read and written at once.
const bulk = 256 << 10

// targets is what tunnels lead to. A connection says in its first line what it
// wants:
//
//	echo        everything back
//	sink        nothing; at the end, how many bytes came
//	source N    N bytes; 0: without end
//	sunk        how many bytes have come to all sinks so far
//	listen      the address of another listener, which lasts as long as this connection
type targets struct{ sunk atomic.Int64 }

func targetHalf(*halfCommand) (string, error) {
	return serve(new(targets).serve)
}

func (t *targets) serve(c tcp) {
	// So small that reads of bulk go around it.
	r := bufio.NewReaderSize(c, 64)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	var n int64
	switch what, _, _ := strings.Cut(strings.TrimSpace(line), " "); what {
	case "echo":
		echo(c, r)
	case "sink":
		t.sink(c, r)
	case "source":
		_, _ = fmt.Sscanf(line, "source %d", &n)
		source(c, n)
	case "sunk":
		fmt.Fprintln(c, t.sunk.Load())
	case "listen":
		t.another(c)
	}
}

// echo does not splice, since that takes two pipes.
func echo(c tcp, r io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{r}, make([]byte, 4<<10))
	_ = c.CloseWrite()
}

func (t *targets) sink(c tcp, r io.Reader) {
	total, _ := drain(r, &t.sunk)
	fmt.Fprintln(c, total)
}

// drain reads until the end, and counts.
func drain(r io.Reader, count *atomic.Int64) (total int64, err error) {
	for b := make([]byte, bulk); ; {
		n, err := r.Read(b)
		count.Add(int64(n))
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// source half-closes behind n bytes. Without n it writes until that fails.
func source(c tcp, n int64) {
	if pour(c, n) == nil {
		_ = c.CloseWrite()
	}
}

// pour writes n bytes; 0: without end.
func pour(c tcp, n int64) error {
	b := make([]byte, bulk)
	for left := n; n == 0 || left > 0; {
		if n > 0 {
			b = b[:min(left, bulk)]
		}
		m, err := c.Write(b)
		if err != nil {
			return err
		}
		left -= int64(m)
	}
	return nil
}

// another opens a listener until c ends.
func (t *targets) another(c tcp) {
	l, err := listen()
	if err != nil {
		return
	}
	go acceptAll(l, t.serve)
	fmt.Fprintln(c, l.Addr())
	_, _ = io.Copy(io.Discard, c)
	_ = l.Close()
}
