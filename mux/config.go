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
	// writers wait. 32 MiB by default.
	ReplayBuffer int
	// Window is how many bytes the peer may send on one stream before they are
	// read, at most: windows follow the round trip and the reader, from 256 KiB
	// on. 16 MiB by default.
	Window int
	// WindowPurse is by how many bytes all windows together may exceed 256 KiB
	// each. 24 MiB by default.
	WindowPurse int
	// OnCalm is called when streams have moved data, and then none has for a
	// second: a good time to give memory back. Nothing by default.
	OnCalm func()
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
		c.ReplayBuffer = 32 << 20
	}
	if c.Window <= 0 {
		c.Window = 16 << 20
	}
	c.Window = max(c.Window, initialWindow)
	if c.WindowPurse <= 0 {
		c.WindowPurse = 24 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.wall == nil {
		c.wall = wallClock
	}
	return c
}
