package main

import (
	"bytes"
	"errors"
	"net"
	"strings"
)

// tcp is a [*net.TCPConn], whose directions end separately.
type tcp interface {
	net.Conn
	CloseWrite() error
}

// listen opens a listener on a loopback port that is free.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// serve gives each connection to a loopback port a goroutine, closes it when that
// ends, and returns the port's address.
func serve(each func(tcp)) (string, error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	go acceptAll(l, each)
	return l.Addr().String(), nil
}

// acceptAll returns when the listener is closed.
func acceptAll(l net.Listener, each func(tcp)) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go func() {
				defer conn.Close()
				each(conn.(tcp))
			}()
		}
	}
}

func dial(address string) (tcp, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(tcp), nil
}

// established is the baselines' answer to a CONNECT.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// refused is their answer when there is no tunnel.
const refused = "HTTP/1.1 502 Bad Gateway\r\n\r\n"

// readHead reads an HTTP head, and returns what came behind it apart.
func readHead(c net.Conn) (head, early []byte, err error) {
	b := make([]byte, 4<<10)
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		n += m
		if end := bytes.Index(b[:n], []byte("\r\n\r\n")); end >= 0 {
			return b[:end+4], b[end+4 : n], nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, errors.New("the head is too long")
}

// requested returns the target that a CONNECT names.
func requested(head []byte) (string, error) {
	line, _, _ := strings.Cut(string(head), "\r\n")
	words := strings.Fields(line)
	if len(words) != 3 || words[0] != "CONNECT" {
		return "", errors.New("no CONNECT: " + line)
	}
	return words[1], nil
}
