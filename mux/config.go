package mux

import (
	"log/slog"
	"time"
)

// Config holds what both ends of a session can choose. The zero value of each
// field means its default. A Config is copied, never changed.
type Config struct {
	// Keepalive is how long a Link may be silent before it asks the peer for a
	// sign of life. 15 s by default.
	Keepalive time.Duration
	// Timeout is how long an answer may take (to a ping, or the acknowledgement
	// of data) while nothing at all is heard, before the WebSocket is taken for
	// dead. 8 s by default.
	Timeout time.Duration
	// ReplayBuffer is how many bytes a Link keeps until the peer has
	// acknowledged them. Memory is taken as it is used; a full buffer makes
	// writers wait. 16 MiB by default.
	ReplayBuffer int
	// Window is how many bytes one stream may send before the peer has read
	// any. 1 MiB by default, and 256 KiB at least.
	Window int
	// Log gets what goes wrong below the level of errors. Nothing by default.
	Log *slog.Logger

	wall func() time.Time // the wall clock; tests have their own
}

func (c Config) withDefaults() Config {
	if c.Keepalive <= 0 {
		c.Keepalive = 15 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 8 * time.Second
	}
	if c.ReplayBuffer <= 0 {
		c.ReplayBuffer = 16 << 20
	}
	if c.Window <= 0 {
		c.Window = 1 << 20
	}
	c.Window = max(c.Window, 256<<10)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.wall == nil {
		c.wall = wallClock
	}
	return c
}
