import { assert, describe, it } from "@effect/vitest"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as PeerExtensions from "../../src/peer/PeerExtensions.ts"
import * as Contacts from "../../src/swarm/Contacts.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as PexMessage from "../../src/wire/extension/PexMessage.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { torrentExtensions } from "../peer/torrentExtensions.ts"

const { isReachable, prefersEncryption, uploadOnly } = PexMessage.flag

/** A connected peer; `port` is where it says that it listens. */
const peer = (
  host: string,
  options: {
    isIncoming?: boolean
    port?: number
    speaks?: boolean
    has?: "all"
    isUploadOnly?: boolean
    prefersEncryption?: boolean
  } = {}
): Contacts.Connected => {
  const remote: PeerAddress = { host, port: 50_000 }
  const extensions = PeerExtensions.make({
    torrent: torrentExtensions(),
    remote,
    outbox: FrameEncoder.make(),
    lost: () => {}
  })
  const greeting = ExtensionHandshake.encode({ port: options.port })
  PeerExtensions.receive(extensions, ExtensionHandshake.id, greeting, 0)
  return {
    remote,
    isIncoming: options.isIncoming === true,
    prefersEncryption: () => options.prefersEncryption === true,
    protocol: {
      extensions: options.speaks === false ? undefined : extensions,
      has: options.has === "all" ? Bitfield.full(3) : Bitfield.make(3),
      isUploadOnly: options.isUploadOnly === true
    }
  }
}

describe("Contacts", () => {
  it("knows where a peer can be dialled: at its own address, or at the port where it says that it listens", () => {
    const addresses = [
      peer("10.0.0.1", { port: 6_881 }),
      peer("10.0.0.2", { isIncoming: true, port: 6_882 }),
      peer("10.0.0.3", { isIncoming: true }),
      peer("10.0.0.4", { isIncoming: true, speaks: false }),
      peer("10.0.0.5", { speaks: false })
    ].map(Contacts.dialAddress)

    assert.deepStrictEqual(addresses, [
      { host: "10.0.0.1", port: 50_000 },
      { host: "10.0.0.2", port: 6_882 },
      undefined,
      undefined,
      { host: "10.0.0.5", port: 50_000 }
    ])
  })

  it("lists for a peer the others that can be dialled, with their flags", () => {
    const newcomer = peer("10.0.0.1")
    const sessions = [
      newcomer,
      peer("10.0.0.2", { isIncoming: true, port: 6_882 }),
      peer("10.0.0.3", { isIncoming: true }),
      peer("10.0.0.4", { has: "all" }),
      peer("10.0.0.5", { isUploadOnly: true, isIncoming: true, port: 6_885 }),
      peer("10.0.0.6", { prefersEncryption: true })
    ]

    assert.deepStrictEqual(
      [...Contacts.others(sessions, newcomer.remote)].map(({ address, flags }) => [address.host, flags]),
      [
        ["10.0.0.2", 0],
        ["10.0.0.4", uploadOnly | isReachable],
        ["10.0.0.5", uploadOnly],
        ["10.0.0.6", isReachable | prefersEncryption]
      ]
    )
  })

  it("finds those of a message that are said to prefer encryption", () => {
    const contacts = [0, prefersEncryption, isReachable, isReachable | prefersEncryption].map((flags, index) => ({
      address: { host: `10.0.0.${index}`, port: 6_881 },
      flags
    }))

    const hosts = Contacts.preferringEncryption(contacts).map(({ host }) => host)

    assert.deepStrictEqual(hosts, ["10.0.0.1", "10.0.0.3"])
  })
})
