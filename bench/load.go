package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// tunnel opens a tunnel as a tool does, and asks the target for something.
func (b *bed) tunnel(target, request string) (tcp, error) {
	c, err := b.connect(target)
	if err != nil {
		return nil, err
	}
	return sent(c, request)
}

// ask connects to a target without a tunnel, and asks it for something.
func ask(address, request string) (tcp, error) {
	c, err := dial(address)
	if err != nil {
		return nil, err
	}
	return sent(c, request)
}

// sent returns the connection when the request is on its way.
func sent(c tcp, request string) (tcp, error) {
	if _, err := fmt.Fprintln(c, request); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect opens a tunnel: it sends a CONNECT and waits for the answer.
func (b *bed) connect(target string) (tcp, error) {
	c, err := dial(b.proxy)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
	var head []byte
	if err == nil {
		head, _, err = readHead(c) // nothing is behind it: the target has not been asked
	}
	if err == nil && !strings.HasPrefix(string(head), "HTTP/1.1 200 ") {
		err = fmt.Errorf("CONNECT got %q", head)
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("can't open a tunnel: %w", err)
	}
	return c, nil
}

// roundTrip sends p to an echo and reads it back.
func roundTrip(c net.Conn, p []byte) (time.Duration, error) {
	began := time.Now()
	if _, err := c.Write(p); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, p)
	return time.Since(began), err
}
