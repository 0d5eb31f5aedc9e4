package mux

// carrier is the Link as yamux sees it. yamux reads on one goroutine and writes
// on another.
type carrier struct {
	link    *Link
	windows *windows
	guard   guard // the reading goroutine's
	// header is that of a data frame whose body comes with the next Write; the
	// writing goroutine's. Sent apart they would be two messages.
	header []byte
}

func newCarrier(l *Link, w *windows) *carrier {
	return &carrier{link: l, windows: w, guard: guard{windows: w}}
}

func (c *carrier) Read(p []byte) (int, error) {
	n, err := c.link.Read(p)
	if err != nil {
		c.windows.end()
		return n, err
	}
	if err := c.guard.check(p[:n]); err != nil {
		c.link.fail(err)
		return 0, err
	}
	return n, nil
}

// Write is given a header, or the body that belongs to the header before it.
func (c *carrier) Write(p []byte) (int, error) {
	body := p
	if len(c.header) == 0 {
		c.header = append(c.header, p...)
		body = nil
		if c.header[yamuxTypeAt] == yamuxData && yamuxLength(c.header) > 0 {
			return len(p), nil
		}
	}
	var err error
	if c.windows.outgoing(c.header) {
		err = c.link.write(c.header, body)
	}
	c.header = c.header[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close is how yamux gives up: at once, since its readers spin until it returns.
// A session that ends in good order has shut the Link before.
func (c *carrier) Close() error {
	c.link.fail(protocolError("yamux gave the session up"))
	c.windows.end()
	return nil
}
