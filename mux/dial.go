package mux

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// handshakeTimeout bounds connecting, TLS and the upgrade together.
const handshakeTimeout = 10 * time.Second

// DialConfig says how Dial reaches the endpoint.
type DialConfig struct {
	Config
	// Token is sent as a bearer token, unless it is empty.
	Token string
	// TLS is used for wss. The system's roots by default.
	TLS *tls.Config
	// Resume is a session to take up again, if the endpoint still has it. Its
	// WebSocket is given up if it is not lost yet.
	Resume *Session
	// DialContext opens the TCP connection. A [net.Dialer] by default.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial opens a session with the endpoint at url, which is ws or wss. It returns
// c.Resume itself if that was taken up. If the endpoint no longer has it, Dial
// ends it with [ErrNotResumed] and returns a new session. After an error, c.Resume
// may be tried again.
//
// An answer that is no session is a [*HandshakeError]; everything else is an
// error of the network or of TLS. It takes 10 s at most, also if ctx allows more.
func Dial(ctx context.Context, url string, c DialConfig) (*Session, error) {
	c.Config = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Resume != nil {
		received, err := c.Resume.link.suspend()
		if err != nil {
			c.Resume = nil // it has ended
		} else {
			header.Set(sessionField, c.Resume.name())
			header.Set(receivedField, strconv.FormatUint(received, 10))
		}
	}
	ws, answer, err := c.upgrade(ctx, url, header)
	switch {
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, handshakeError(answer)
	case err != nil:
		return nil, fmt.Errorf("can't reach the endpoint: %w", err)
	}
	if ws.Subprotocol() != subprotocol || answer.Header.Get(sessionField) == "" {
		_ = ws.Close()
		return nil, &HandshakeError{Status: answer.StatusCode, Detail: "it does not speak " + subprotocol}
	}
	return c.enter(ws, answer.Header)
}

// enter takes up the old session or begins a new one, as the answer has it.
func (c *DialConfig) enter(ws *websocket.Conn, answer http.Header) (*Session, error) {
	s := c.Resume
	if s != nil && answer.Get(receivedField) != "" {
		received, err := strconv.ParseUint(answer.Get(receivedField), 10, 64)
		if err == nil {
			err = s.link.attach(ws, "", received)
		}
		if err != nil {
			_ = ws.Close()
			s.link.fail(err)
			return nil, err
		}
		s.rename(answer.Get(sessionField))
		return s, nil
	}
	if s != nil {
		s.link.fail(fmt.Errorf("%w: the endpoint does not have it any more", ErrNotResumed))
	}
	seconds, _ := strconv.ParseUint(answer.Get(windowField), 10, 31) // without it, none
	link := newLink(c.Config, time.Duration(seconds)*time.Second, hooks{})
	link.start(ws, "")
	s, err := newSession(link, dialed)
	if err != nil {
		return nil, err
	}
	s.rename(answer.Get(sessionField))
	return s, nil
}

// upgrade dials. Once it has connected, gorilla looks at the deadline of ctx only,
// so the end of ctx has to close the connection.
func (c *DialConfig) upgrade(ctx context.Context, url string, header http.Header) (*websocket.Conn, *http.Response, error) {
	dialer := c.dialer()
	connect := dialer.NetDialContext
	if connect == nil {
		connect = new(net.Dialer).DialContext
	}
	release := func() bool { return true }
	dialer.NetDialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := connect(ctx, network, address)
		if err == nil {
			release = context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
	ws, answer, err := dialer.DialContext(ctx, url, header)
	if !release() {
		if err == nil {
			_ = ws.Close()
		}
		return nil, nil, context.Cause(ctx)
	}
	return ws, answer, err
}

// dialer does not look at the proxy variables of the environment: they lead to
// ferry itself.
func (c *DialConfig) dialer() *websocket.Dialer {
	return &websocket.Dialer{
		NetDialContext:  c.DialContext,
		TLSClientConfig: c.TLS,
		Subprotocols:    []string{subprotocol},
		WriteBufferSize: writeBufferSize,
		WriteBufferPool: writeBuffers,
	}
}

// handshakeError reads why the endpoint refused.
func handshakeError(answer *http.Response) error {
	defer answer.Body.Close()
	e := &HandshakeError{Status: answer.StatusCode, Detail: http.StatusText(answer.StatusCode)}
	// gorilla has read up to 1 KiB of the body, no more.
	lines := bufio.NewScanner(answer.Body)
	if lines.Scan() && lines.Text() != "" {
		e.Detail = clip(lines.Text())
	}
	if seconds, err := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
