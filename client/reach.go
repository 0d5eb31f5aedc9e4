package client

import (
	"context"
	"errors"
	"fmt"
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

// reach dials the endpoints in turn, from the first on, until one answers with a
// session, or ctx ends. It pauses when all have been tried: what keeps one of them is
// no reason to wait for another.
func (c *Client) reach(ctx context.Context, first int) (reached *member) {
	c.retry(ctx, func() (err error) {
		for i := range c.endpoints {
			at := (first + i) % len(c.endpoints)
			var session *mux.Session
			if session, err = c.dial(ctx, at, nil); err == nil {
				reached = newMember(session, at)
				return nil
			}
		}
		return err
	})
	return reached
}

// resume dials the endpoint of a session until it takes the session up. It
// returns the session itself, or the one that it was given instead, or nil if the
// session or ctx has ended.
func (c *Client) resume(ctx context.Context, one *member) (resumed *member) {
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel()
	watcher.Go(func() {
		select {
		case <-one.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	c.retry(ctx, func() error {
		session, err := c.dial(ctx, one.endpoint, one.Session)
		switch {
		case err != nil:
			return err
		case session == one.Session:
			resumed = one
		default:
			resumed = newMember(session, one.endpoint)
		}
		return nil
	})
	return resumed
}

// retry calls attempt until it succeeds or ctx ends: at once, then with pauses
// that grow. It says each new reason for failure once.
func (c *Client) retry(ctx context.Context, attempt func() error) {
	// From nothing to twice the interval: full jitter.
	pause := &backoff.ExponentialBackOff{
		InitialInterval: firstRetry / 2, MaxInterval: maxRetry / 2, Multiplier: 2, RandomizationFactor: 1,
	}
	var said string
	for ctx.Err() == nil {
		err := attempt()
		if err == nil || ctx.Err() != nil {
			return
		}
		c.sessions.explain(err)
		if said != err.Error() {
			said = err.Error()
			c.config.Log.Error("no session with the endpoint; trying on", "reason", err)
		}
		sleep(ctx, retryAfter(err, pause.NextBackOff()))
	}
}

// dial opens a session with an endpoint, or takes one up.
func (c *Client) dial(ctx context.Context, endpoint int, resume *mux.Session) (*mux.Session, error) {
	token, err := c.config.token()
	if err != nil {
		return nil, err
	}
	session, err := mux.Dial(ctx, c.endpoints[endpoint], mux.DialConfig{
		Config: mux.Config{Keepalive: c.config.Keepalive, ReplayBuffer: c.config.ReplayBuffer, OnCalm: c.config.OnCalm, Log: c.config.Log},
		Token:  token,
		TLS:    c.config.TLS,
		Resume: resume,
	})
	switch {
	case unwanted(err):
		return nil, fmt.Errorf("%s turned the token down: %w", c.endpoints[endpoint], err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.endpoints[endpoint], err)
	}
	return session, nil
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

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
