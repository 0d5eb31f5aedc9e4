package wire

import (
	"bytes"
	"fmt"
	"testing"
)

func TestBorrowedBufferHoldsWhatWasAskedFor(t *testing.T) {
	sizes := []int{0, 1}
	for n := leastChunk; n <= mostChunk; n *= 2 {
		sizes = append(sizes, n-1, n, min(n+1, mostChunk))
	}
	for _, n := range sizes {
		b := borrow(n)
		// Twice as much would do, too, but memory is what the classes are there to save.
		if got := len(b.payload()); got < n || got > max(leastChunk, 2*n) {
			t.Errorf("borrow(%d) gave room for %d bytes; want as much as was asked for, and no class too large", n, got)
		}
		giveBack(b)
	}
}

func TestBorrowedBufferIsNeverLargerThanTheLargest(t *testing.T) {
	for _, n := range []int{mostChunk, mostChunk + 1, maxData, 1 << 30} {
		b := borrow(n)
		if got := len(b.payload()); got != mostChunk {
			t.Errorf("borrow(%d) gave room for %d bytes; want %d, a larger chunk is read in pieces", n, got, mostChunk)
		}
		giveBack(b)
	}
}

// A buffer must come back to those of its own size.
func TestBufferThatWasGivenBackIsLentAgainAtItsSize(t *testing.T) {
	for range 10 {
		for n := leastChunk; n <= mostChunk; n *= 2 {
			b := borrow(n)
			if got := len(b.payload()); got != n {
				t.Fatalf("borrow(%d) gave room for %d bytes; want exactly that, also from a pool", n, got)
			}
			giveBack(b)
		}
	}
	giveBack(nil) // what a read that brought nothing has
}

// A chunk's header has to fit in front of whatever the largest buffer holds.
func TestSealedChunkOfAFullBufferIsWhole(t *testing.T) {
	for n := leastChunk; n <= mostChunk; n *= 2 {
		b := borrow(n)
		copy(b.payload(), pattern(n))
		wantData(t, &decoder{src: bytes.NewReader(b.sealData(n))}, pattern(n))
		giveBack(b)
	}
}

// grainOf plays reads of a flow, and returns for how many bytes they were.
func grainOf(g *grain, reads, most int, brings func(size int) int) (sizes []int) {
	for range reads {
		size := g.size(most)
		g.adapt(brings(size), size)
		sizes = append(sizes, size)
	}
	return sizes
}

func full(size int) int { return size }
func nothing(int) int   { return 0 }

func TestGrainGrowsWithReadsThatFillIt(t *testing.T) {
	var g grain
	got := grainOf(&g, 7, 1<<20, full)
	want := []int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 128 << 10}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("full reads were for %v bytes; want %v: a flow that brings much is read in few calls", got, want)
	}
}

func TestGrainShrinksWithReadsThatLeaveItNearlyEmpty(t *testing.T) {
	var g grain
	grainOf(&g, 10, 1<<20, full)
	got := grainOf(&g, 7, 1<<20, func(size int) int { return size/4 - 1 })
	want := []int{128 << 10, 64 << 10, 32 << 10, 16 << 10, 8 << 10, 4 << 10, 4 << 10}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("nearly empty reads were for %v bytes; want %v: a flow that brings little needs no large buffer", got, want)
	}
}

func TestGrainStaysWithReadsInBetween(t *testing.T) {
	for _, brings := range []func(int) int{
		func(size int) int { return size / 4 },
		func(size int) int { return size / 2 },
		func(size int) int { return size - 1 },
	} {
		var g grain
		grainOf(&g, 4, 1<<20, full)
		want := g.size(1 << 20)
		for _, got := range grainOf(&g, 5, 1<<20, brings) {
			if got != want {
				t.Errorf("a read for %d bytes that brought %d was followed by one for %d; want no change", want, brings(want), got)
			}
		}
	}
}

func TestGrainStaysWithinItsLimits(t *testing.T) {
	for _, most := range []int{1, 1000, leastChunk, leastChunk + 1, 16 << 10, 100_000, mostChunk, mostChunk + 1, 1 << 30} {
		var g grain
		low, high := min(leastChunk, most), min(most, mostChunk)
		sizes := grainOf(&g, 20, most, full)
		if last := sizes[len(sizes)-1]; last != high {
			t.Errorf("with at most %d bytes full reads grew to %d; want %d", most, last, high)
		}
		sizes = append(sizes, grainOf(&g, 20, most, nothing)...)
		if last := sizes[len(sizes)-1]; last != low {
			t.Errorf("with at most %d bytes empty reads shrank to %d; want %d", most, last, low)
		}
		for _, size := range sizes {
			if size < low || size > high {
				t.Errorf("with at most %d bytes a read was for %d; want it within [%d, %d]", most, size, low, high)
			}
		}
	}
}

// The limit is the stream's of the moment: it may fall and rise between two reads.
func TestGrainFollowsALimitThatChanges(t *testing.T) {
	var g grain
	grainOf(&g, 10, 1<<20, full)
	if got := g.size(16 << 10); got != 16<<10 {
		t.Errorf("after the limit fell to 16 KiB a read was for %d bytes; want no more than the limit", got)
	}
	if got := g.size(1 << 20); got != mostChunk {
		t.Errorf("when the limit had risen again a read was for %d bytes; want %d, the flow has not changed", got, mostChunk)
	}
}
