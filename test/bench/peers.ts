/** Peers of the microbenchmarks. */
import type * as Assembly from "../../src/assembly/Assembly.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import type * as Upload from "../../src/peer/Upload.ts"
import * as Uploads from "../peer/uploads.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"

/** A peer whose session does nothing when it is woken. */
export const join = (
  assembly: Assembly.Assembly,
  upload: Upload.Upload = Uploads.make(assembly.geometry)
): PeerProtocol.PeerProtocol =>
  PeerProtocol.make({
    assembly,
    upload,
    id: idOf(0),
    isFast: true,
    wake: () => {},
    serve: () => {},
    interestChanged: () => {},
    now: 0
  })
