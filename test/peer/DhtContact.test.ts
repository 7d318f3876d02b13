import { assert, describe, it } from "@effect/vitest"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as DhtContact from "../../src/peer/DhtContact.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"

const remote = { host: "192.0.2.1", port: 50_000 }

const make = (port: number | undefined) => {
  const found: Array<PeerAddress> = []
  const ours = { port: () => ours.current, found: (node: PeerAddress) => void found.push(node), current: port }
  return { ours, found, contact: DhtContact.make(ours, remote), outbox: FrameEncoder.make() }
}

describe("DhtContact", () => {
  it("sends the port once, again if it changes, and nothing while there is none", () => {
    const { contact, ours, outbox } = make(undefined)

    DhtContact.send(contact, outbox)
    const before = FrameEncoder.isEmpty(outbox)
    ours.current = 0x1a_e1
    DhtContact.send(contact, outbox)
    DhtContact.send(contact, outbox)
    ours.current = 0x1a_e2
    DhtContact.send(contact, outbox)

    assert.isTrue(before)
    // Length 3, id 9, the port (BEP 5).
    assert.deepStrictEqual([...FrameEncoder.take(outbox)], [0, 0, 0, 3, 9, 0x1a, 0xe1, 0, 0, 0, 3, 9, 0x1a, 0xe2])
  })

  it("fault 38: takes the node to be on the peer's host, and reads only a few messages", () => {
    const { contact, found } = make(6_881)

    for (let port = 0; port < 20; port++) DhtContact.receive(contact, port)

    assert.deepStrictEqual(
      found,
      [1, 2, 3, 4].map((port) => ({ host: "192.0.2.1", port }))
    )
  })
})
