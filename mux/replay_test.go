package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestReplayKeepsWhatAByteSliceKeeps(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed) // printed if the test fails
	r := rand.New(rand.NewPCG(seed, 0))
	var buffer replay
	var model []byte // all that was ever appended
	start := 0       // of which this much was released
	for range 1000 {
		switch r.IntN(3) {
		case 0:
			p := noise(r.Uint64(), r.IntN(3*segmentSize))
			buffer.append(p)
			model = append(model, p...)
		case 1:
			start += pick(r, len(model)-start)
			buffer.release(uint64(start))
		}
		from := start + pick(r, len(model)-start)
		n := pick(r, len(model)-from)
		got := bytes.Join(buffer.view(nil, uint64(from), n), nil)
		if !bytes.Equal(got, model[from:from+n]) {
			t.Fatalf("the %d bytes from %d on are not those that were appended", n, from)
		}
		checkReplay(t, &buffer, start, len(model))
	}
	buffer.release(uint64(len(model)))
	checkReplay(t, &buffer, len(model), len(model))
}

// pick returns a number from 0 to n; the ends are where the mistakes are.
func pick(r *rand.Rand, n int) int {
	switch r.IntN(4) {
	case 0:
		return 0
	case 1:
		return n
	}
	return r.IntN(n + 1)
}

// checkReplay checks the bounds of a buffer that holds the bytes from start to
// end, and that it holds no more memory than that takes.
func checkReplay(t *testing.T, r *replay, start, end int) {
	t.Helper()
	if r.start != uint64(start) || r.end != uint64(end) || r.len() != end-start {
		t.Fatalf("the buffer says %d to %d, %d bytes; want %d to %d", r.start, r.end, r.len(), start, end)
	}
	// Both the first and the last segment may be in use by one byte only.
	most := (end-start)/segmentSize + 2
	if start == end {
		most = 0
	}
	if len(r.held) > most {
		t.Fatalf("%d segments are held for %d bytes; want at most %d", len(r.held), end-start, most)
	}
}

func TestReplayThatIsReleasedHoldsNothing(t *testing.T) {
	for _, n := range []int{1, segmentSize - 1, segmentSize, segmentSize + 1, 5*segmentSize + 3} {
		var r replay
		for round := range 3 {
			r.append(noise(uint64(round), n))
			r.release(r.end)
			if r.held != nil || r.len() != 0 {
				t.Errorf("%d segments are held after all of %d bytes were released; want none", len(r.held), n)
			}
		}
	}
}

func TestReplayKeepsWhatIsBeingSent(t *testing.T) {
	// A release up to the start of what the sender is reading must not touch it.
	var r replay
	first, second := noise(1, segmentSize+100), noise(2, 2*segmentSize)
	r.append(first)
	r.append(second)
	parts := r.view(nil, uint64(len(first)), len(second))
	r.release(uint64(len(first)))
	r.append(noise(3, 3*segmentSize))
	if !bytes.Equal(bytes.Join(parts, nil), second) {
		t.Errorf("bytes that were not released have changed; the sender is still reading them")
	}
}
