package embedded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// TestASoundFileIsNeverTakenForADamagedOne puts and deletes records of many sizes at
// random, until the tree has grown three levels and shrunk again, and looks at the pages
// after each transaction.
func TestASoundFileIsNeverTakenForADamagedOne(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), fileName), 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	change := func(tx *bbolt.Tx, puts, deletes int) error {
		for _, name := range [][]byte{bucketNodes, bucketInstances, bucketSummary} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketInstances)
		for range puts {
			key := fmt.Sprintf("n%d\x00%d", rng.IntN(4), rng.IntN(3000))
			if err := b.Put([]byte(key), make([]byte, rng.IntN(1<<rng.IntN(14)))); err != nil {
				return err
			}
		}
		for range deletes {
			key, _ := b.Cursor().Seek(fmt.Appendf(nil, "n%d\x00%d", rng.IntN(4), rng.IntN(3000)))
			if err := b.Delete(key); key != nil && err != nil {
				return err
			}
		}
		return tx.Bucket(bucketNodes).Put(fmt.Append(nil, rng.IntN(9)), make([]byte, rng.IntN(300)))
	}
	deepest := 0
	for round := range 600 {
		puts, deletes := rng.IntN(80), rng.IntN(20)
		if round > 300 {
			puts, deletes = rng.IntN(10), rng.IntN(160)
		}
		if err := db.Update(func(tx *bbolt.Tx) error { return change(tx, puts, deletes) }); err != nil {
			t.Fatal(err)
		}
		err := db.View(func(tx *bbolt.Tx) error {
			deepest = max(deepest, tx.Bucket(bucketInstances).Stats().Depth)
			return errors.Join(checkPages(tx))
		})
		if err != nil {
			t.Fatalf("after transaction %d: %v", round, err)
		}
	}
	if deepest < 3 {
		t.Errorf("the tree had %d levels at most", deepest)
	}
}
