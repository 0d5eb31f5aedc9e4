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
	// DialContext opens the TCP connection. A [net.Dialer] by default.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial opens a session with the endpoint at url, which is ws or wss. An answer
// that is no session is a [*HandshakeError]; everything else is an error of the
// network or of TLS. It takes 10 s at most, also if ctx allows more.
func Dial(ctx context.Context, url string, c DialConfig) (*Session, error) {
	c.Config = c.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	ws, answer, err := c.dialer().DialContext(ctx, url, header)
	switch {
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, handshakeError(answer)
	case err != nil:
		return nil, fmt.Errorf("can't reach the endpoint: %w", err)
	}
	id := answer.Header.Get(sessionField)
	if ws.Subprotocol() != subprotocol || id == "" {
		_ = ws.Close()
		return nil, &HandshakeError{Status: answer.StatusCode, Detail: "it does not speak " + subprotocol}
	}
	return newSession(id, ws, c.Config, dialed)
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
