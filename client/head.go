package client

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

const (
	// maxHead is the largest request head that is read.
	maxHead = 16 << 10
	// headTime is how long a tool may take to send one.
	headTime = 10 * time.Second
)

// headListener wraps what it accepts in a headConn.
type headListener struct{ net.Listener }

func (l headListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headConn{Conn: conn}, nil
}

// headConn is a tool's connection while net/http reads the request head from it.
// It gives the answers that net/http has no say in, or words its own way: to a
// head that is too large, too slow or no HTTP. Each connection carries one
// request, so this is needed once; the tunnel then works on the Conn itself.
type headConn struct {
	net.Conn
	head []byte // read from Conn, and not by net/http yet
	read bool   // the head is complete
}

// Read returns nothing before the whole head is there.
func (c *headConn) Read(p []byte) (int, error) {
	if !c.read {
		if err := c.readHead(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// readHead reads the head, and maybe some of what follows. If there is no valid
// head, the tool has been told so and the error is io.EOF.
func (c *headConn) readHead() error {
	if err := c.SetReadDeadline(time.Now().Add(headTime)); err != nil {
		return err
	}
	buf := make([]byte, 2<<10)
	for n := 0; ; {
		if n == len(buf) {
			buf = append(buf, make([]byte, n)...)
		}
		m, err := c.Conn.Read(buf[n:])
		n += m
		end, bad := headEnd(buf[:n])
		switch {
		case bad != nil:
			bad.send(c.Conn, "")
			return io.EOF
		case end:
			c.head, c.read = buf[:n], true
			return c.SetReadDeadline(time.Time{})
		case errors.Is(err, os.ErrDeadlineExceeded):
			slowHead.send(c.Conn, "")
			return io.EOF
		case err != nil:
			return err
		}
	}
}

var (
	slowHead = &refusal{http.StatusRequestTimeout, "http_request_error",
		"the request head was not complete in 10 seconds", "send it in one piece"}
	longHead = &refusal{http.StatusRequestHeaderFieldsTooLarge, "http_request_error",
		"the request head is over 16 KiB", "send fewer or shorter header fields"}
	tlsHead = &refusal{http.StatusBadRequest, "http_request_error",
		"this is an HTTP proxy, and TLS was spoken to it", "set HTTPS_PROXY to a URL that begins with http://"}
)

// headEnd reports whether b holds a whole head, or why it never will.
func headEnd(b []byte) (bool, *refusal) {
	if len(b) == 0 {
		return false, nil
	}
	if b[0] == 0x16 { // a TLS handshake record (RFC 8446, section 5.1)
		return false, tlsHead
	}
	line, rest, complete := bytes.Cut(b, []byte("\n"))
	if complete && !requestLine(bytes.TrimSuffix(line, []byte("\r"))) || b[0] <= ' ' || b[0] >= 0x7f {
		return false, badRequest("the request is not HTTP")
	}
	// An empty line ends the head; net/http takes a bare LF, too.
	at := -1
	if complete {
		at = emptyLine(rest)
	}
	if at >= 0 && len(line)+1+at <= maxHead {
		return true, nil
	}
	if at >= 0 || len(b) >= maxHead {
		return false, longHead
	}
	return false, nil
}

// requestLine reports whether a line has the form of one (RFC 9112, section 3).
func requestLine(line []byte) bool {
	parts := bytes.Split(line, []byte(" "))
	return len(parts) == 3 && len(parts[0]) > 0 && len(parts[1]) > 0 && bytes.HasPrefix(parts[2], []byte("HTTP/"))
}

// emptyLine returns where the empty line in b ends, or -1. The line in front of
// b has ended.
func emptyLine(b []byte) int {
	for at := 0; ; {
		line, _, complete := bytes.Cut(b[at:], []byte("\n"))
		if !complete {
			return -1
		}
		at += len(line) + 1
		if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return at
		}
	}
}

// Write is called by net/http alone, and only to refuse a request before the
// handler has seen it: a handler takes the connection over. So b is net/http's
// answer, of which the last line says what is wrong.
func (c *headConn) Write(b []byte) (int, error) {
	reason := b[bytes.LastIndexByte(bytes.TrimRight(b, "\r\n"), '\n')+1:]
	if _, text, ok := bytes.Cut(reason, []byte(": ")); ok {
		reason = text
	}
	badRequest(string(bytes.TrimSpace(reason))).send(c.Conn, "")
	return len(b), nil
}

// takeOver returns the connection itself, and what has been read from it beyond
// the request: first net/http's share, then ours.
func takeOver(conn net.Conn, byHTTP []byte) (net.Conn, []byte) {
	head, ok := conn.(*headConn)
	if !ok {
		return conn, byHTTP
	}
	return head.Conn, slices.Concat(byHTTP, head.head)
}
