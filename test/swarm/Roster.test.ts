import { assert, describe, it } from "@effect/vitest"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Roster from "../../src/swarm/Roster.ts"

interface Member extends Roster.Member {
  readonly listensAt: PeerAddress | undefined
  readonly ends: Array<string>
}

const ourId = new Uint8Array(20).fill(5)

const member = (
  id: number,
  options: { readonly isIncoming?: boolean; readonly openedAt?: number; readonly port?: number } = {}
): Member => {
  const ends: Array<string> = []
  return {
    peerId: new Uint8Array(20).fill(id),
    isIncoming: options.isIncoming === true,
    prefersEncryption: () => false,
    openedAt: options.openedAt ?? 0,
    listensAt: options.port === undefined ? undefined : { host: "10.0.0.1", port: options.port },
    ends,
    failUnsafe: ({ why }) => ends.push(why)
  }
}

const rosterOf = (...members: ReadonlyArray<Member>): Roster.Roster<Member> => {
  const roster = Roster.make<Member>(({ listensAt }) => listensAt)
  for (const [key, one] of members.entries()) roster.members.set(key, one)
  return roster
}

describe("Roster", () => {
  it("knows a member by the address where it can be dialled", () => {
    const roster = rosterOf(member(1, { port: 6_881 }), member(2))

    const known = [6_881, 6_882].map((port) => Roster.keyAt(roster, { host: "10.0.0.1", port }))

    assert.deepStrictEqual(known, [0, undefined])
  })

  it("does not look at members that do not count", () => {
    const roster = rosterOf(member(1, { port: 6_881 }))

    assert.isUndefined(Roster.keyAt(roster, { host: "10.0.0.1", port: 6_881 }, (key) => key !== 0))
  })

  it("refuses a peer that is connected already, and no other", () => {
    const first = member(9)
    const roster = rosterOf(first)

    const [again, other] = [member(9), member(8)].map((newcomer) => Roster.keepOne(roster, newcomer, ourId)?.why)

    assert.deepStrictEqual([again, other, first.ends], ["it is connected already", undefined, []])
  })

  /** Which of two connections between us and peer `id` stays. */
  const staying = (id: number, newcomer: { readonly isIncoming: boolean; readonly openedAt: number }) => {
    const first = member(id, { isIncoming: !newcomer.isIncoming })
    const refusal = Roster.keepOne(rosterOf(first), member(id, newcomer), ourId)
    assert.strictEqual(first.ends.length, refusal === undefined ? 1 : 0)
    return refusal === undefined ? "second" : "first"
  }

  it("keeps, of two connections that crossed, the one that the peer with the larger id opened", () => {
    const openedAt = Roster.crossingTime - 1

    assert.strictEqual(staying(9, { isIncoming: true, openedAt }), "second")
    assert.strictEqual(staying(9, { isIncoming: false, openedAt }), "first")
    assert.strictEqual(staying(1, { isIncoming: true, openedAt }), "first")
    assert.strictEqual(staying(1, { isIncoming: false, openedAt }), "second")
  })

  it("keeps the first of two connections that did not cross", () => {
    assert.strictEqual(staying(9, { isIncoming: true, openedAt: Roster.crossingTime }), "first")
  })

  it("ends the chosen sessions", () => {
    const members = [member(1), member(2), member(3)]
    const roster = rosterOf(...members)

    Roster.dismiss(roster, (one) => one !== members[1], "that is all")

    assert.deepStrictEqual(
      members.map(({ ends }) => ends),
      [["that is all"], [], ["that is all"]]
    )
  })
})
