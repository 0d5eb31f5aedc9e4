package client

import (
	"context"
	"errors"
	"time"

	"ferry/mux"
	"ferry/wire"
)

// open opens a tunnel, and waits until its target is connected unless it is to
// be early. If the session is lost for good before open returns, the tunnel is
// opened once more on the next one: nothing was sent on it yet.
func (c *Client) open(ctx context.Context, target wire.Target, early bool) (*wire.Conn, error) {
	began := time.Now()
	for {
		session, err := c.sessions.wait(ctx, c.config.ConnectWait-time.Since(began))
		if err != nil {
			return nil, err
		}
		conn, err := c.openOn(ctx, session, target, early)
		if err == nil || !cut(err) || time.Since(began) >= c.config.ConnectWait {
			return conn, err
		}
	}
}

func (c *Client) openOn(ctx context.Context, session *mux.Session, target wire.Target, early bool) (*wire.Conn, error) {
	stream, err := session.Open()
	if err != nil {
		return nil, &wire.AbortError{Code: wire.AbortCut, Err: err}
	}
	conn, err := wire.Open(stream, target)
	if err != nil {
		_ = stream.Close()
		return nil, err
	}
	conn.OnAnswer(func(connected bool) { c.known.answered(target, connected) })
	if early {
		return conn, nil
	}
	if err := conn.Handshake(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// cut reports whether a tunnel was lost with its session.
func cut(err error) bool {
	var abort *wire.AbortError
	return errors.As(err, &abort) && abort.Code == wire.AbortCut
}
