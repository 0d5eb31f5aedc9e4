package main

import (
	"io"
	"sync"
)

// The limit is two-hop relaying with nothing in between: each tunnel is a TCP
// connection from half to half, and the kernel moves the bytes (splice).

// limitClient passes each connection on to the server half.
func limitClient(h *halfCommand) (string, error) {
	return serve(func(tool tcp) {
		server, err := dial(h.Server)
		if err != nil {
			return
		}
		defer server.Close()
		join(tool, server)
	})
}

// limitServer answers each CONNECT and connects it to its target.
func limitServer(*halfCommand) (string, error) {
	return serve(func(client tcp) {
		head, early, err := readHead(client)
		if err != nil {
			return
		}
		target, err := connect(head)
		if err != nil {
			_, _ = io.WriteString(client, refused)
			return
		}
		defer target.Close()
		_, _ = io.WriteString(client, established)
		_, _ = target.Write(early)
		join(client, target) // which meets what failed
	})
}

// connect dials the target that a CONNECT names.
func connect(head []byte) (tcp, error) {
	target, err := requested(head)
	if err != nil {
		return nil, err
	}
	return dial(target)
}

// join copies both ways until both have ended. An end is passed on as an end; an
// error ends both.
func join(a, b tcp) {
	oneWay := func(dst, src tcp) {
		if _, err := io.Copy(dst, src); err != nil {
			_ = a.Close()
			_ = b.Close()
			return
		}
		_ = dst.CloseWrite()
	}
	var both sync.WaitGroup
	both.Go(func() { oneWay(a, b) })
	both.Go(func() { oneWay(b, a) })
	both.Wait()
}
