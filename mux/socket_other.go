//go:build !linux

package mux

import "net"

// keepQueueShort does nothing here: ferry runs on Linux.
func keepQueueShort(net.Conn) {}
