"""Times of this project beside other libraries, and the tables and charts made of them; see README.md here."""
