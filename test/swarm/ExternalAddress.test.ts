import { assert, describe, it } from "@effect/vitest"
import * as ExternalAddress from "../../src/swarm/ExternalAddress.ts"

describe("ExternalAddress", () => {
  it("believes the majority, however often one voter repeats itself", () => {
    const self = ExternalAddress.make()
    for (let time = 0; time < 10; time++) ExternalAddress.vote(self, "liar", "9.9.9.9")

    const changes = ["one", "other", "third"].map((voter) => ExternalAddress.vote(self, voter, "98.76.54.32"))

    assert.deepStrictEqual(changes, [false, true, false])
    assert.strictEqual(self.ipv4Host, "98.76.54.32")
  })

  it("keeps its belief if as many voters report something else, however often", () => {
    const self = ExternalAddress.make()
    const first = ExternalAddress.vote(self, "one", "98.76.54.32")

    const later = Array.from({ length: 6 }, (_, turn) =>
      turn % 2 === 0
        ? ExternalAddress.vote(self, "other", "98.76.54.33")
        : ExternalAddress.vote(self, "one", "98.76.54.32")
    )

    assert.deepStrictEqual([first, later.includes(true), self.ipv4Host], [true, false, "98.76.54.32"])
  })

  it("knows one address of each family", () => {
    const self = ExternalAddress.make()

    ExternalAddress.vote(self, "one", "98.76.54.32")
    ExternalAddress.vote(self, "other", "2a03:2880:f177:185::1")

    assert.deepStrictEqual([self.ipv4Host, self.ipv6Host], ["98.76.54.32", "2a03:2880:f177:185::1"])
  })

  it.each(["127.0.0.1", "10.1.2.3", "192.168.1.1", "fe80::1", "0.0.0.0", "example.org"])(
    "does not believe %s",
    (host) => {
      const self = ExternalAddress.make()

      const isNew = ExternalAddress.vote(self, "tracker", host)

      assert.deepStrictEqual([isNew, self.votes.size, self.ipv4Host], [false, 0, undefined])
    }
  )

  it("forgets the oldest of many voters, and follows an address that changes", () => {
    const self = ExternalAddress.make()
    for (let voter = 0; voter < ExternalAddress.maxVoters; voter++) ExternalAddress.vote(self, `${voter}`, "8.8.8.8")

    for (let voter = 0; voter < 40; voter++) ExternalAddress.vote(self, `new ${voter}`, "9.9.9.9")

    assert.deepStrictEqual([self.votes.size, self.ipv4Host], [ExternalAddress.maxVoters, "9.9.9.9"])
  })
})
