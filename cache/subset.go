package cache

import (
	"cmp"
	"slices"
)

// maxSubsets bounds what is kept of a single huge service, and keeps indexes of
// records within 16 bits: 256 subsets of 100 records serve 25,600 instances.
const maxSubsets = 256

// candidate is a record of an RRset that is too large.
type candidate struct {
	index  int // in Answer.Records
	weight float64
	hash   uint64 // of the record: where it stands among the others
}

// pick is a record of a subset.
type pick struct {
	index  int
	weight float64
}

// draw chooses, for each of count subsets, most of the candidates. A candidate is
// in as many subsets as its weight asks for, and with equal weights all
// subsets together hold each candidate once.
//
// This is systematic sampling (Madow 1949): the candidates lie on a line, each as
// long as the probability that a subset holds it. A subset takes those that its
// comb, with teeth 1 apart, hits; the combs of two subsets stand 1/count apart.
// The order on the line comes from the records themselves, so that the same view
// makes the same subsets, in every server, and after an answer was evicted.
//
// The weight of a pick is its share of the subset's first places. As a heavy
// candidate is in more subsets already, that is less than its own weight.
func draw(candidates []candidate, most, count int) [][]pick {
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.index, b.index))
	})
	lengths := inclusion(candidates, most)
	subsets := make([][]pick, count)
	for s := range subsets {
		tooth := (float64(s) + 0.5) / float64(count)
		end := 0.0
		for i, c := range candidates {
			end += lengths[i]
			if tooth < end && len(subsets[s]) < most {
				subsets[s] = append(subsets[s], pick{c.index, c.weight / lengths[i]})
				tooth++
			}
		}
	}
	return subsets
}

// inclusion returns the probability that a subset holds each candidate:
// proportional to the weights, at most 1, and most in all. What a heavy
// candidate has beyond 1 goes to the others.
func inclusion(candidates []candidate, most int) []float64 {
	p := make([]float64, len(candidates))
	left := float64(most) // places not yet given away
	for {
		total := 0.0
		for i, c := range candidates {
			if p[i] == 0 {
				total += c.weight
			}
		}
		if total == 0 { // the rest have no weight: they share what is left
			return shareRest(p, left)
		}
		full := false
		for i, c := range candidates {
			if p[i] == 0 && c.weight*left >= total {
				p[i], full = 1, true
			}
		}
		if !full {
			for i, c := range candidates {
				if p[i] == 0 {
					p[i] = c.weight * left / total
				}
			}
			return p
		}
		left = float64(most)
		for i := range p {
			left -= p[i]
		}
	}
}

func shareRest(p []float64, left float64) []float64 {
	rest := 0
	for i := range p {
		if p[i] == 0 {
			rest++
		}
	}
	for i := range p {
		if p[i] == 0 && rest > 0 {
			p[i] = left / float64(rest)
		}
	}
	return p
}
