"""The review queue: what is worth labelling next, who was asked about it, and what came of it.

Modules: `candidates` (the newest events of a task, ranked), `queue` (gives them out, one reviewer an event), `opinion` (what a reviewer
says, as a record for Kafka), `statistics` (accuracy and agreement), `label_studio` (its JSON, there and back), `sending` (to Kafka),
`views` (what is answered), `routes` and `exchange` (the routes).
"""
