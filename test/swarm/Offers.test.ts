import { assert, describe } from "@effect/vitest"
import * as Prng from "../../src/base/Prng.ts"
import * as Offers from "../../src/swarm/Offers.ts"
import { connect, heard, makeAssembly, tags, test } from "../peer/protocols.ts"

describe("Offers", () => {
  test("announces everything to a peer that heard of nothing, if super-seeding has ended before it joins", function* () {
    const assembly = yield* makeAssembly({ stored: [0, 1, 2, 3] })
    const offers = Offers.make({ geometry: assembly.geometry, random: Prng.make(1) })
    const offer = Offers.offerOf(
      offers,
      1,
      () => undefined,
      () => 0
    )
    const protocol = connect(assembly, 1, { offer })
    const other = connect(assembly, 2)
    const before = [tags(heard(protocol)), tags(heard(other))]
    offers.machine = undefined

    Offers.join(offers, protocol, 0)
    Offers.join(offers, other, 0)

    assert.deepStrictEqual(before, [["HaveNone"], ["HaveAll"]])
    assert.deepStrictEqual([tags(heard(protocol)), tags(heard(other))], [["Have", "Have", "Have", "Have"], []])
  })
})
