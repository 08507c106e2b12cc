"""The newest predictions of each task in the memory of a process: searchable, filtered and ranked, filled from Redis and kept current.

Modules: `words` (texts and searches as tokens), `rows` (what is known of one prediction), `schema` (the tables of a task, documented),
`table` (a task's SQLite database), `queries` (what may be asked), `review` (what the review queue asks), `places` (cursors), `arrivals`
(reading Redis), `following` (one task kept current), `crowd` (who else wants the processors), `index` (all tasks, in a thread).
"""
