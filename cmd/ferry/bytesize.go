package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// byteSize is a flag such as 16MiB.
type byteSize int

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *byteSize) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil || n == 0 || n > math.MaxInt32 {
		return fmt.Errorf("%q is not a size from 1 byte to 2 GiB, such as 16MiB", text)
	}
	*b = byteSize(n)
	return nil
}
