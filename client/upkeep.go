package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"ferry/mux"
)

const (
	// maxRetry is the longest pause between two attempts to reach the endpoint.
	maxRetry = 15 * time.Second
	// firstRetry is the longest first pause; the attempt before it was made at
	// once.
	firstRetry = 100 * time.Millisecond
)

// NoSessionError says that a tunnel could not be opened because there is no
// session with the endpoint.
type NoSessionError struct {
	Reason error // why there is none
}

// Error says what is missing, and why.
func (e *NoSessionError) Error() string {
	return "no session with the endpoint: " + e.Reason.Error()
}

// Unwrap returns the reason.
func (e *NoSessionError) Unwrap() error { return e.Reason }

var (
	errStarting = errors.New("it has not been reached yet")
	errCrowded  = errors.New("too many are waiting for it already")
	errDraining = errors.New("the endpoint is going away")
	errStopped  = errors.New("ferry is shutting down")
)

// upkeep is the current session, and who waits for it.
type upkeep struct {
	waiting chan struct{} // holds a token for each CONNECT that waits

	mu      sync.Mutex                // guards what follows
	held    map[*mux.Session]struct{} // all that have not ended
	current *mux.Session              // the one for new tunnels; nil if there is none
	reason  error                     // why there is none
	changed chan struct{}             // closed, and replaced, at each change
}

func (u *upkeep) init(maxWaiting int) {
	u.waiting = make(chan struct{}, maxWaiting)
	u.held = make(map[*mux.Session]struct{})
	u.changed = make(chan struct{})
	u.reason = errStarting
}

// all returns the sessions that have not ended.
func (u *upkeep) all() []*mux.Session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.held))
}

func (u *upkeep) hold(session *mux.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held[session] = struct{}{}
}

func (u *upkeep) drop(session *mux.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.held, session)
}

// set makes session the current one, or says why there is none.
func (u *upkeep) set(session *mux.Session, reason error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current, u.reason = session, reason
	close(u.changed)
	u.changed = make(chan struct{})
}

// get returns the current session, or why there is none, and what is closed when
// that changes.
func (u *upkeep) get() (session *mux.Session, changed <-chan struct{}, reason error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current != nil && u.current.Err() != nil {
		return nil, u.changed, u.current.Err() // keepSession is about to notice
	}
	return u.current, u.changed, u.reason
}

// wait returns the current session, and waits for one if there is none. It gives
// up at once if the endpoint does not want this client: no wait will change that.
func (u *upkeep) wait(ctx context.Context, limit time.Duration) (*mux.Session, error) {
	session, changed, reason := u.get()
	if session != nil {
		return session, nil
	}
	select {
	case u.waiting <- struct{}{}:
		defer func() { <-u.waiting }()
	default:
		return nil, &NoSessionError{Reason: errCrowded}
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for session == nil {
		if unwanted(reason) || errors.Is(reason, errStopped) {
			return nil, &NoSessionError{Reason: reason}
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, &NoSessionError{Reason: reason}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		session, changed, reason = u.get()
	}
	return session, nil
}

// unwanted reports whether the endpoint turned the token down.
func unwanted(err error) bool {
	var handshake *mux.HandshakeError
	return errors.As(err, &handshake) &&
		(handshake.Status == http.StatusUnauthorized || handshake.Status == http.StatusForbidden)
}

// keepSession keeps one session up until ctx ends. A session whose endpoint goes
// away is replaced before it ends; its tunnels may finish on it.
func (c *Client) keepSession(ctx context.Context) {
	var held sync.WaitGroup
	defer held.Wait()
	defer c.sessions.set(nil, errStopped)
	for ctx.Err() == nil {
		session := c.reach(ctx)
		if session == nil {
			return
		}
		c.config.Log.Info("session opened", "endpoint", c.endpoint)
		c.sessions.hold(session)
		c.sessions.set(session, nil)
		held.Go(func() { c.hold(ctx, session) })
		select {
		case <-session.Done():
			c.sessions.set(nil, session.Err())
		case <-session.Draining():
			c.sessions.set(nil, errDraining)
			c.config.Log.Info("the endpoint is going away; opening another session")
		}
	}
}

// hold sees a session to its end, and to the client's.
func (c *Client) hold(ctx context.Context, session *mux.Session) {
	defer c.sessions.drop(session)
	stop := context.AfterFunc(ctx, func() { _ = session.Close(mux.CloseDone, "the client is shutting down") })
	defer stop()
	if _, err := session.Accept(); err == nil {
		_ = session.Close(mux.CloseProtocolError, "only the client opens tunnels")
	}
	c.config.Log.Info("session ended", "reason", session.Err())
	_ = session.Close(mux.CloseDone, "")
}

// reach dials the endpoint until it answers with a session, or ctx ends.
func (c *Client) reach(ctx context.Context) *mux.Session {
	// From nothing to twice the interval: full jitter.
	pause := &backoff.ExponentialBackOff{
		InitialInterval: firstRetry / 2, MaxInterval: maxRetry / 2, Multiplier: 2, RandomizationFactor: 1,
	}
	var said string
	for ctx.Err() == nil {
		session, err := c.dial(ctx)
		if err == nil {
			return session
		}
		c.sessions.set(nil, err)
		if said != err.Error() && ctx.Err() == nil {
			said = err.Error()
			c.config.Log.Error("no session with the endpoint; trying on", "endpoint", c.endpoint, "reason", err)
		}
		if !sleep(ctx, retryAfter(err, pause.NextBackOff())) {
			return nil
		}
	}
	return nil
}

func (c *Client) dial(ctx context.Context) (*mux.Session, error) {
	token, err := c.config.token()
	if err != nil {
		return nil, err
	}
	session, err := mux.Dial(ctx, c.endpoint, mux.DialConfig{
		Config: mux.Config{Keepalive: c.config.Keepalive, Log: c.config.Log},
		Token:  token,
		TLS:    c.config.TLS,
	})
	if unwanted(err) {
		return nil, fmt.Errorf("the endpoint turned the token down: %w", err)
	}
	return session, err
}

// retryAfter is how long to wait after err: what the endpoint asked for, or long
// if only a new token can help, or else the pause.
func retryAfter(err error, pause time.Duration) time.Duration {
	var handshake *mux.HandshakeError
	switch {
	case unwanted(err):
		return maxRetry
	case errors.As(err, &handshake):
		return max(pause, handshake.RetryAfter)
	}
	return pause
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
