package admin

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// TestHowLongAComparisonTakesTellsNothing asks Welch's t-test whether a token that is
// right but for its last letter takes another time than one that is wrong from its
// first. In the long form it fails where the test says so three times in a row.
func TestHowLongAComparisonTakesTellsNothing(t *testing.T) {
	const most = 4.5 // of the absolute t
	tries, attempts := 2_000, 1
	if os.Getenv("ROLLCALL_LONG") != "" {
		tries, attempts = 100_000, 3
	}
	tokens := []Token{{Name: "admin", Secret: secretAll, Write: true}}
	near, far := []byte(secretAll), []byte(secretAll)
	near[len(near)-1]++
	for i := range far {
		far[i]++
	}
	var score float64
	for range attempts {
		if score = welch(measured(tries, tokens, string(near), string(far))); math.Abs(score) < most {
			break
		}
	}
	t.Logf("%d tries of each: t is %.2f", tries, score)
	if attempts > 1 && math.Abs(score) >= most {
		t.Errorf("t is %.2f", score)
	}
}

// measured times both secrets as chance will have it, in the same memory, and leaves out
// the slowest tenth: what else a machine does says nothing of the comparison.
func measured(tries int, tokens []Token, secrets ...string) (a, b []float64) {
	const each = 16 // comparisons to a reading of the clock
	type try struct {
		secret int
		took   float64
	}
	all := make([]try, 2*tries)
	shown := make([]byte, len(secrets[0]))
	for n := range all {
		secret := rand.IntN(len(secrets))
		copy(shown, secrets[secret])
		start := time.Now()
		for range each {
			if tokenOf(tokens, string(shown)) != nil {
				panic("the secret is right")
			}
		}
		all[n] = try{secret, float64(time.Since(start))}
	}
	slices.SortFunc(all, func(x, y try) int { return cmp.Compare(x.took, y.took) })
	of := make([][]float64, len(secrets))
	for _, t := range all[:len(all)*9/10] {
		of[t.secret] = append(of[t.secret], t.took)
	}
	return of[0], of[1]
}

// welch returns the t of two samples.
func welch(a, b []float64) float64 {
	moments := func(x []float64) (mean, variance float64) {
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x)-1)
		}
		return mean, variance
	}
	meanA, varianceA := moments(a)
	meanB, varianceB := moments(b)
	return (meanA - meanB) / math.Sqrt(varianceA/float64(len(a))+varianceB/float64(len(b)))
}
