package correlation

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/33god/bloodbank"
)

// index finds nodes by their id. It is a hash table with open addressing, which
// takes a quarter of the time of a map; ids come from strangers, so the hash has
// secrets of its own.
type index struct {
	nodes  []Node
	slots  []int32 // the place of a node, plus one; 0 is free
	mask   uint64
	secret [2]uint64
}

// newIndex finds the first node of each id.
func newIndex(nodes []Node) index {
	size := uint64(1) << bits.Len(uint(2*len(nodes)))
	x := index{nodes: nodes, slots: make([]int32, size), mask: size - 1, secret: [2]uint64{rand.Uint64(), rand.Uint64()}}
	for i := range nodes {
		if slot := x.slot(&nodes[i].ID); x.slots[slot] == 0 {
			x.slots[slot] = int32(i) + 1
		}
	}
	return x
}

// slot is where id stands, or would stand.
func (x *index) slot(id *bloodbank.EventID) uint64 {
	high, low := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^x.secret[0], binary.LittleEndian.Uint64(id[8:])^x.secret[1])
	at := (high ^ low) & x.mask
	for x.slots[at] != 0 && x.nodes[x.slots[at]-1].ID != *id {
		at = (at + 1) & x.mask
	}
	return at
}

func (x *index) find(id *bloodbank.EventID) (place int32, ok bool) {
	place = x.slots[x.slot(id)] - 1
	return place, place >= 0
}

// edges are lists of neighbours, all in one slice: those of node i lie between
// first[i] and first[i+1].
type edges struct{ first, to []int32 }

func (e edges) of(i int32) []int32 { return e.to[e.first[i]:e.first[i+1]] }

// newEdges returns the children of each node, or its parents, among the nodes. A
// node that comes twice has those of its first place only. The neighbours of a
// node stand in the order of the nodes, or of its parents.
func newEdges(nodes []Node, x *index, d Direction) edges {
	e := edges{first: make([]int32, len(nodes)+2)}
	pairs := make([][2]int32, 0, len(nodes)) // from, to
	for i := range nodes {
		if place, _ := x.find(&nodes[i].ID); place != int32(i) {
			continue
		}
		for p := range nodes[i].Parents {
			parent, ok := x.find(&nodes[i].Parents[p])
			if !ok {
				continue
			}
			pair := [2]int32{int32(i), parent}
			if d == Descendants {
				pair[0], pair[1] = pair[1], pair[0]
			}
			pairs = append(pairs, pair)
			e.first[pair[0]+2]++
		}
	}
	for i := 2; i < len(e.first); i++ {
		e.first[i] += e.first[i-1]
	}
	// Now first[i+1] is where the list of i begins; filling moves it to its end.
	e.to = make([]int32, len(pairs))
	for _, p := range pairs {
		e.to[e.first[p[0]+1]] = p[1]
		e.first[p[0]+1]++
	}
	e.first = e.first[:len(nodes)+1]
	return e
}

// permute puts node order[i] at place i. It uses order up.
func permute(nodes []Node, order []int32) {
	for i := range order {
		if order[i] < 0 || order[i] == int32(i) {
			continue
		}
		held, at := nodes[i], int32(i)
		for {
			from := order[at]
			order[at] = -1
			if from == int32(i) {
				nodes[at] = held
				break
			}
			nodes[at] = nodes[from]
			at = from
		}
	}
}
