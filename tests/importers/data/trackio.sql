-- Two tables of the file that Trackio 0.43 writes for a project.
CREATE TABLE metrics (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        timestamp TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        step INTEGER NOT NULL,
                        metrics TEXT NOT NULL
                    , log_id TEXT, space_id TEXT);
INSERT INTO metrics VALUES (1, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 0, CAST('{"train/loss":1.0,"val acc %":0.5}' AS BLOB), '1724358a1e0d4386b3548ededad71c71', NULL);
INSERT INTO metrics VALUES (2, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 1, CAST('{"train/loss":0.5,"val acc %":0.6}' AS BLOB), '69497d7f84204204b719db83b56c8926', NULL);
INSERT INTO metrics VALUES (3, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 2, CAST('{"train/loss":0.3333333333333333,"val acc %":0.7}' AS BLOB), 'a5bfb27f0f8245f5803f20d254e64a1a', NULL);
INSERT INTO metrics VALUES (4, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 1, CAST('{"odd":"NaN"}' AS BLOB), '68a9a662b90e4550b7ba91e9c12044da', NULL);
INSERT INTO metrics VALUES (5, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 2, CAST('{"odd":"Infinity"}' AS BLOB), '1d8d3e59488b45f4b66cc23cd40e00af', NULL);
INSERT INTO metrics VALUES (6, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 0, CAST('{"again":1.0}' AS BLOB), '6f3818e552cb413280105d622edd65b9', NULL);
INSERT INTO metrics VALUES (7, '8ed8e0bbf486464da7f6ebb22e6807b7', '2026-11-24T10:22:45.802810+00:00', 'first run', 0, CAST('{"again":2.0}' AS BLOB), '9a926b1c1b2643cfbe4d5f677c861234', NULL);
INSERT INTO metrics VALUES (8, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 0, CAST('{"train/loss":1.0,"val acc %":0.5}' AS BLOB), '8647bf08c9224bc0b19918b4e1ca1198', NULL);
INSERT INTO metrics VALUES (9, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 1, CAST('{"train/loss":0.5,"val acc %":0.6}' AS BLOB), '932667a2c2f34c4ba6d706cb328757ca', NULL);
INSERT INTO metrics VALUES (10, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 2, CAST('{"train/loss":0.3333333333333333,"val acc %":0.7}' AS BLOB), '621e507ffdb5469db56438d347fca204', NULL);
INSERT INTO metrics VALUES (11, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 1, CAST('{"odd":"NaN"}' AS BLOB), '8fbc275bafd44b58b2804ceceb3a40cc', NULL);
INSERT INTO metrics VALUES (12, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 2, CAST('{"odd":"Infinity"}' AS BLOB), '2c39d6b34a634a9fb4a41652f2643e98', NULL);
INSERT INTO metrics VALUES (13, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 0, CAST('{"again":1.0}' AS BLOB), 'a7b6c918822245569cfdabaff88c6e5e', NULL);
INSERT INTO metrics VALUES (14, 'a4aff1f8e9a34d02aa993789f288a2d5', '2026-11-24T10:22:45.871027+00:00', 'second', 0, CAST('{"again":2.0}' AS BLOB), 'ffc92aa5e58f437e99bd4373f229e1a3', NULL);
CREATE TABLE configs (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL,
                        run_name TEXT NOT NULL,
                        config TEXT NOT NULL,
                        created_at TEXT NOT NULL,
                        UNIQUE(run_id)
                    );
INSERT INTO configs VALUES (1, '8ed8e0bbf486464da7f6ebb22e6807b7', 'first run', CAST('{"lr":0.1,"model":{"depth":2},"layers":[4,5],"_Username":null,"_Created":"2026-11-24T10:22:45.799193+00:00","_Group":"seeds"}' AS BLOB), '2026-11-24T10:22:45.833189+00:00');
INSERT INTO configs VALUES (2, 'a4aff1f8e9a34d02aa993789f288a2d5', 'second', CAST('{"lr":0.01,"model":{"depth":2},"layers":[4,5],"_Username":null,"_Created":"2026-11-24T10:22:45.860369+00:00","_Group":"seeds"}' AS BLOB), '2026-11-24T10:22:45.918193+00:00');
